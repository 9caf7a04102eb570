/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/handoff.h"

#include "handoff/listeners.h"

#include <sched.h>

static void source_init(struct source *s)
{
        *s = (struct source){.process = PROCESS_NULL};
        s->tracee.process = &s->process;
}

static void source_done(struct source *s)
{
        tracee_detach(&s->tracee, now_usec() + USEC_PER_SEC);
        process_close(&s->process);
        qmp_free(s->qmp);
        cmdline_done(&s->cmdline);
}

static void destination_init(struct destination *d, const char *handoff_id)
{
        *d = (struct destination){
                .process = PROCESS_NULL, .cmdline_facts = {.vhostfd = -1}, .obituary = {.log = -EBADF}};
        d->tracee.process = &d->process;
        channels_init(&d->channels, handoff_id);
}

static void destination_done(struct destination *d)
{
        for (size_t i = 0; i < TAKEOVER_QUESTIONS; i++)
                qmp_question_done(&d->takeover[i]);
        process_close(&d->process);
        qmp_free(d->qmp);
        cmdline_done(&d->cmdline);
        cmdline_facts_done(&d->cmdline_facts);
        channels_done(&d->channels);
        obituary_close(&d->obituary);
}

struct handoff *handoff_new(const char *id)
{
        struct handoff *h = mem_new(1, sizeof(*h));

        h->order.id = id;
        h->link = LINK_NULL;
        h->device = -EBADF;
        facts_init(&h->facts);
        source_init(&h->source);
        destination_init(&h->destination, id);
        relay_init(&h->relay, id);
        return h;
}

struct handoff *handoff_free(struct handoff *h)
{
        if (!h)
                return NULL;
        source_done(&h->source);
        destination_done(&h->destination);
        relay_done(&h->relay);
        facts_done(&h->facts);
        findings_done(&h->findings);
        connections_done(&h->before);
        connections_done(&h->after);
        journal_free(h->journal);
        json_object_put(h->order.json);
        close_fd(h->device);
        close_fd(h->link.fd);
        free(h);
        return NULL;
}

void handoff_recover(struct handoff *h)
{
        struct facts *facts = &h->facts;

        h->recovering = true;
        h->source.is_dead = h->source.process.pidfd < 0;
        h->destination.is_dead = h->destination.process.pidfd < 0;
        listeners_recover(h);
        if (json_object_is_type(facts->connections_before, json_type_array))
                h->before = (struct connections){json_object_get(facts->connections_before),
                                                 json_object_array_length(facts->connections_before)};
}

void handoff_hurry(struct handoff *h, bool hurry)
{
        struct sched_param p = {.sched_priority = hurry ? 1 : 0};

        if (hurry != h->hurried)
                sched_setscheduler(0, hurry ? SCHED_RR | SCHED_RESET_ON_FORK : SCHED_OTHER, &p);
        h->hurried = hurry;
}
