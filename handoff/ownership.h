/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How ownership of the device moves between two unmodified QEMUs. They have no call for VHOST_RESET_OWNER,
 * and the kernel accepts it from the owner only, so the call is made inside the owner (inject.h). Each
 * function looks at what is, not at what should be, so that it can be called again, and by a recovery.
 */

#include "handoff/handoff.h"

/* The stages' functions; stages.c says what each is for. */
int ownership_release(struct handoff *h, struct failure *f);
int ownership_take_back(struct handoff *h, struct failure *f);
int ownership_claim(struct handoff *h, struct failure *f);
int ownership_give_up(struct handoff *h, struct failure *f);
int ownership_verify(struct handoff *h, struct failure *f);
