/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Gives each thread of the destination what its counterpart in the source runs as (threads.h); queries both
 * over QMP. The destination is built but not loaded. */
int placement_carry_over(struct handoff *h, struct failure *f);
