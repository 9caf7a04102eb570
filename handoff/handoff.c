/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/handoff.h"

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
        free(s->credentials);
        qmp_free(s->qmp);
        cmdline_done(&s->cmdline);
}

static void destination_init(struct destination *d, const char *directory)
{
        *d = (struct destination){
                .process = PROCESS_NULL, .cmdline_facts = {.vhostfd = -1}, .obituary = {.log = -EBADF}};
        d->tracee.process = &d->process;
        channels_init(&d->channels, directory);
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
        _cleanup_free_ char *directory = text_print(HANDOFF_DIRECTORY "/%s", id);
        struct handoff *h = mem_new(1, sizeof(*h));

        h->order.id = id;
        h->link = LINK_NULL;
        h->device = -EBADF;
        facts_init(&h->facts);
        source_init(&h->source);
        destination_init(&h->destination, directory);
        relay_init(&h->relay, directory);
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
        order_done(&h->order);
        close_fd(h->device);
        link_close(&h->link);
        free(h);
        return NULL;
}

int handoff_note(struct handoff *h, const char *name, struct failure *f)
{
        return facts_note(&h->facts, h->journal, name, f);
}

int handoff_obituary(struct handoff *h, struct failure *f)
{
        return obituary_write(&h->destination.obituary, &h->destination.tracee, f);
}

void handoff_hurry(struct handoff *h, bool hurry)
{
        struct sched_param p = {.sched_priority = hurry ? 1 : 0};

        if (hurry != h->hurried)
                sched_setscheduler(0, hurry ? SCHED_RR | SCHED_RESET_ON_FORK : SCHED_OTHER, &p);
        h->hurried = hurry;
}
