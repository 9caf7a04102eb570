/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the checks found, a line each, and what to do about it. */

#include "proto/base.h"

void findings_print(json_object *findings);
bool findings_have_blocker(json_object *findings);
