/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* We do not set a guest running that is stopped for a reason of its own, or of somebody else's. */

#include "handoff/handoff.h"

/* Notes its run state, in QEMU's words, for the way back. Returns -ECANCELED, with that in @f. */
int runstate_note(struct handoff *h, const char *state, struct failure *f);
/* What happens to a guest while the migration stops it comes too late for the state that is sent: QEMU does
 * it to the source, or forgets it. Returns -ECANCELED if the source's events tell of such a thing; then the
 * way is back, to the QEMU that it has happened to. */
int runstate_require_no_late(struct handoff *h, struct failure *f);
