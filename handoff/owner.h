/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How ownership of the device moves. One strategy per kind of VMM; the stages of stages.c call these and know
 * no more. Each function looks at what is, not at what should be, so that it can be called again and by a
 * recovery.
 */

#include "handoff/handoff.h"

struct owner {
        const char *name;
        /* The source releases the device (VHOST_RESET_OWNER); a dead one's is reclaimed. */
        int (*release)(struct handoff *h, struct failure *f);
        /* …and takes it back (VHOST_SET_OWNER). */
        int (*take_back)(struct handoff *h, struct failure *f);
        /* The destination claims it (VHOST_SET_OWNER and what else it wanted of it while it was built), and
         * the kernel is asked whether it has it: h->destination.owns. */
        int (*claim)(struct handoff *h, struct failure *f);
        /* …and gives it up, or it is reclaimed from a dead one. */
        int (*give_up)(struct handoff *h, struct failure *f);
};

extern const struct owner owner_remote;

/* The strategy for this VM, or the one that was ordered. ENOTSUP: there is none of that name. */
int owner_find(struct handoff *h, struct failure *f);

/* The stages' functions. */
int owner_release(struct handoff *h, struct failure *f);
int owner_take_back(struct handoff *h, struct failure *f);
int owner_claim(struct handoff *h, struct failure *f);
int owner_give_up(struct handoff *h, struct failure *f);
int owner_verify(struct handoff *h, struct failure *f);
