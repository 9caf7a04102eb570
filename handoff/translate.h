/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/cmdline.h"

/* Makes the destination's command line. Objections are added to @fs as findings; the result is usable only if
 * none of them is a blocker. Returns 0. */
int cmdline_make(const struct cmdline *source, const struct cmdline_plan *plan, struct cmdline *ret,
                 struct cmdline_facts *ret_facts, struct findings *fs);
