/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* We do not set a guest running that is stopped for a reason of its own, or of somebody else's. */

#include "handoff/handoff.h"

/* Notes its run state, in QEMU's words, for the way back. Returns -ECANCELED, with that in @f. */
int runstate_note(struct handoff *h, const char *state, struct failure *f);
