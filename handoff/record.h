/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* The Record of io.cprd.varlink. @stages (borrowed): array of StageTime. */
json_object *record_make(struct handoff *h, const char *outcome, json_object *stages);
