/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parameters of a method must be. */

#include "proto/base.h"

#define PARAMETERS_MAX 8 /* of one method */

struct parameter {
        const char *name;
        json_type type; /* an array is one of strings */
        bool needed;
};

/* The first parameter that is missing, unknown or of a wrong type; NULL: all are well. A null says the same
 * as nothing. @known ends with a NULL name, or has PARAMETERS_MAX. */
const char *parameters_defect(const struct parameter *known, json_object *parameters);
