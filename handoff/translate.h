/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/cmdline.h"

/* Makes the destination's command line. What stands against it is added to @fs as findings; the result is
 * usable only if that added no blocker. Returns 0. */
int cmdline_make(const struct cmdline *source, const struct cmdline_plan *plan, struct cmdline *ret,
                 struct cmdline_facts *ret_facts, struct findings *fs);
