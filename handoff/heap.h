/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The destination's heap (brk(2)) is locked in memory from before the pause until the source is gone.
 *
 * QEMU's RCU thread gives free heap pages back to the kernel (malloc_trim(3), util/rcu.c) when it has had
 * nothing to do for 10 ms: after the machine has been built, and again in the middle of the load. The load
 * allocates, and would take a page fault for each of some hundred pages and wait for the trim, which holds
 * the allocator's lock. Locked pages are present, and the kernel refuses to take them away (madvise(2)).
 */

#include "handoff/handoff.h"

/* Locks it. The destination runs and is traced, and no call of ours is under way in it. Best effort: what is
 * not locked only makes the pause longer. Fails if the destination cannot be used any more, or if the step
 * has to end. */
int heap_lock(struct handoff *h, struct failure *f);
/* Unlocks what was locked, in the stopped and traced destination. */
int heap_unlock(struct handoff *h, struct failure *f);
