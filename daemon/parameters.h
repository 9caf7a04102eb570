/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a method's parameters must look like. */

#include "proto/base.h"

#define PARAMETERS_MAX 8 /* of one method */

struct parameter {
        const char *name;
        json_type type; /* an array is one of strings */
        bool needed;
};

/* The first parameter that is missing, unknown or of the wrong type; NULL: all are valid. A null counts as
 * absent. @known ends with a NULL name, or has PARAMETERS_MAX entries. */
const char *parameters_defect(const struct parameter *known, json_object *parameters);
