/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether a destination that has loaded the state can take over the guest. It is queried as soon as the load
 * has completed, and answers while the source releases the device.
 *
 * Its run state is the guest's: a guest that had panicked, say, when it was stopped has done so in the
 * destination too, and is not set running. Its disks are activated, which takes their locks, while an error
 * can still be rolled back: QEMU itself would do that only in `cont`. A destination launched with -S leaves
 * them inactive until then.
 */

#include "handoff/handoff.h"

/* Finds out beforehand what will have to be queried. */
int takeover_prepare(struct handoff *h, struct failure *f);
/* Sends the queries. */
void takeover_ask(struct handoff *h);
/* Waits for the answers. ECANCELED: the guest does not run, and not by our doing. */
int takeover_await(struct handoff *h, struct failure *f);
/* Forgets queries that were not answered. */
void takeover_done(struct handoff *h);
