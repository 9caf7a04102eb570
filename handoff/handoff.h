/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One handoff, as cprd-handoff holds it. Every stage of stages.c gets this and nothing else. What a recovery
 * has to know is in `facts`, which are written to the journal; the rest lives and dies with this process.
 */

#include "common/connections.h"
#include "common/finding.h"
#include "common/journal.h"
#include "handoff/facts.h"
#include "handoff/link.h"
#include "handoff/order.h"
#include "handoff/relay.h"
#include "handoff/side.h"
#include "handoff/step.h"

#define HANDOFF_DIRECTORY "/run/cprd/handoffs"
#define DEVICE_PATH       "/dev/vhost-vsock"

struct handoff {
        struct order order;
        struct journal *journal;
        struct facts facts;
        struct link link;
        struct step step;
        struct findings findings;
        struct source source;
        struct destination destination;
        struct relay relay;
        int device; /* owned: our share of custody, besides cprd's */
        struct connections before, after;

        bool hurried;    /* this process runs before all others */
        bool recovering; /* this process is not the one that began it */

        uint64_t pause_began;            /* now_usec() when the source's STOP was seen; 0: not yet */
        uint64_t stop_usec, resume_usec; /* QEMU's own time stamps of STOP and RESUME */
        const char *failed_stage;
        struct failure failure;
};

struct handoff *handoff_new(const char *id);
struct handoff *handoff_free(struct handoff *h);
static inline void handoff_freep(struct handoff **h)
{
        *h = handoff_free(*h);
}

/* Writes one member of the facts (facts.h) to the journal. */
int handoff_note(struct handoff *h, const char *name, struct failure *f);
/* Fills @f with the reason why the dead destination died. Returns -ESRCH. */
int handoff_obituary(struct handoff *h, struct failure *f);

/* Runs this process before all others while a guest waits for it (SCHED_RR, if allowed), or like all others.
 */
void handoff_hurry(struct handoff *h, bool hurry);
