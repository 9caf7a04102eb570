/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/owner.h"

#include "common/log.h"
#include "handoff/destination.h"

#define JOURNALED_CONNECTIONS_MAX 1000

int owner_find(struct handoff *h, struct failure *f)
{
        static const struct owner *const strategies[] = {&owner_remote};

        for (size_t i = 0; i < ELEMENTSOF(strategies); i++)
                if (!h->order.strategy || STREQ(h->order.strategy, strategies[i]->name)) {
                        h->owner = strategies[i];
                        return 0;
                }
        failure_set(f, ENOTSUP, "the strategy %s does not exist for this VM", h->order.strategy);
        return failure_remedy(f, "leave the strategy to cprd");
}

/* Now: the guest is stopped, so what goes from here on does not go by its own doing. A recovery needs the
 * list too, to say what was lost; the journal has room for one of a sane length only. */
static int list_connections(struct handoff *h, struct failure *f)
{
        connections_done(&h->before);
        if (connections_list(h->source.cid, &h->before) < 0) {
                log_warning("this kernel does not list AF_VSOCK connections (CONFIG_VSOCKETS_DIAG)");
                return 0;
        }
        if (h->before.n > JOURNALED_CONNECTIONS_MAX)
                return 0;
        return handoff_fact(h, "connectionsBefore", json_object_get(h->before.established), f);
}

int owner_release(struct handoff *h, struct failure *f)
{
        int r = list_connections(h, f);

        return r < 0 ? r : h->owner->release(h, f);
}

int owner_take_back(struct handoff *h, struct failure *f)
{
        return h->source.is_dead ? 0 : h->owner->take_back(h, f);
}

int owner_claim(struct handoff *h, struct failure *f)
{
        return h->owner->claim(h, f);
}

int owner_give_up(struct handoff *h, struct failure *f)
{
        return h->owner->give_up(h, f);
}

/* By what both have told: a question would be part of the pause. */
static int verify_run_states(struct handoff *h, struct failure *f)
{
        if (h->destination.qmp && qmp_event(h->destination.qmp, "RESUME", 0, NULL))
                return failure_set(f, EPROTO, "the destination runs before it was told to");
        if (h->source.qmp && !h->source.is_dead &&
            qmp_event(h->source.qmp, "RESUME", h->source_events - 1, NULL))
                return failure_set(f, EPROTO, "the source runs again: somebody else has told it to");
        return 0;
}

int owner_verify(struct handoff *h, struct failure *f)
{
        struct connections now = {};
        size_t lost = 0;
        int r = verify_run_states(h, f);

        if (r < 0)
                return r;

        if (!h->destination.owns)
                return failure_set(f, EPERM, "the destination does not own the device it claimed");
        if (!process_is_alive(&h->destination.process))
                return destination_obituary(h, f);
        if (h->before.n && connections_list(h->source.cid, &now) >= 0)
                lost = connections_lost(&h->before, &now);
        connections_done(&now);
        /* A host program may close one at any moment; all of them at once is a reset. */
        if (lost && lost == h->before.n)
                return failure_set(f, ECONNRESET, "all %zu vsock connections went with the move", lost);
        return 0;
}
