/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/*
 * The destination's heap (brk(2)) is locked in memory from the pause's eve until the source has gone.
 *
 * QEMU's RCU thread gives free heap pages back to the kernel (malloc_trim(3), util/rcu.c) as soon as it has
 * had nothing to do for 10 ms: after the machine has been built, and again in the midst of the load. The load
 * allocates, and would take a page fault for each of some hundred pages, and wait for the trim, which holds
 * the allocator's lock. Pages that are locked are there, and the kernel refuses to take them (madvise(2)).
 */

/* Locks as much of it as can be done until @until (now_usec()). The destination runs and is traced, with
 * nothing of ours under way in it. Best effort: what is not locked only makes the pause longer. Fails when
 * the destination cannot be used any more. */
int heap_lock(struct handoff *h, uint64_t until, struct failure *f);
/* Unlocks what was locked, in the stopped and traced destination. */
int heap_unlock(struct handoff *h, struct failure *f);
