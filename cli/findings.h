/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Prints what the checks found, one line per finding, with its remedy. */

#include "proto/base.h"

void findings_print(json_object *findings);
bool findings_have_blocker(json_object *findings);
