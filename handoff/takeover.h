/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether a destination that has loaded the state can take the guest over. It is asked as soon as the load
 * has completed, and answers while the source releases the device.
 *
 * Its run state is the guest's: one that had panicked, say, when it was stopped does so in the destination
 * too, and is not set running. Its disks are activated, which takes their locks, while an error still leads
 * back: QEMU itself would do that in `cont` only. A destination launched with -S leaves them inactive until
 * then.
 */

#include "handoff/handoff.h"

/* Finds out beforehand what will have to be asked. */
int takeover_prepare(struct handoff *h, struct failure *f);
/* Asks. */
void takeover_ask(struct handoff *h);
/* Waits for the answers. ECANCELED: the guest does not run, and not by our doing. */
int takeover_await(struct handoff *h, struct failure *f);
/* Forgets what was asked and not answered. */
void takeover_done(struct handoff *h);
