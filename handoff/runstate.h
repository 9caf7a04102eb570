/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A guest that does not run for a reason of its own, or of somebody else's, is not set running by us. */

#include "handoff/handoff.h"

/* Notes its run state, in QEMU's words, for the way back. Returns -ECANCELED, with that in @f. */
int runstate_note(struct handoff *h, const char *state, struct failure *f);
