/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * cprd-handoff ID: one handoff, from its order to its outcome. Started by cprd as cprd-handoff@ID.service.
 */

#include "common/log.h"
#include "handoff/destination.h"
#include "handoff/stages.h"
#include "proto/handoff.h"

#include <sched.h>
#include <signal.h>

struct handoff *handoff_free(struct handoff *h)
{
        if (!h)
                return NULL;
        tracee_detach(&h->source.tracee, now_usec() + USEC_PER_SEC);
        process_close(&h->source.process);
        qmp_free(h->source.qmp);
        cmdline_done(&h->source.cmdline);
        free(h->source.exe);
        free(h->source.version);
        free(h->source.machine);
        process_close(&h->destination.process);
        qmp_free(h->destination.qmp);
        cmdline_done(&h->destination.cmdline);
        cmdline_facts_done(&h->destination.facts);
        free(h->destination.binary);
        free(h->destination.version);
        free(h->destination.machine);
        free(h->destination.directory);
        close_fd(h->destination.log);
        findings_done(&h->findings);
        connections_done(&h->before);
        connections_done(&h->after);
        journal_free(h->journal);
        json_object_put(h->order.json);
        close_fd(h->device);
        close_fd(h->cprd);
        free(h);
        return NULL;
}

static struct handoff *handoff_new(const char *id)
{
        struct handoff *h = calloc(1, sizeof(*h));

        if (!h)
                abort();
        h->order.id = id;
        h->cprd = h->device = -EBADF;
        h->source.process = h->destination.process = PROCESS_NULL;
        h->source.device_fd = -1;
        h->source.tracee.process = &h->source.process;
        h->destination.tracee.process = &h->destination.process;
        h->destination.facts.vhostfd = -1;
        h->destination.log = -EBADF;
        return h;
}

void handoff_hurry(struct handoff *h, bool hurry)
{
        struct sched_param p = {.sched_priority = hurry ? 1 : 0};

        if (hurry != h->hurried)
                sched_setscheduler(0, hurry ? SCHED_RR | SCHED_RESET_ON_FORK : SCHED_OTHER, &p);
        h->hurried = hurry;
}

int handoff_fact(struct handoff *h, const char *key, json_object *value, struct failure *f)
{
        json_object *o = json_object_new_object();
        int r;

        json_add(o, key, value);
        r = journal_append(h->journal, "fact", o);
        return r < 0 ? failure_set(f, r, "cannot write the journal: %s", strerror(-r)) : 0;
}

int main(int argc, char *argv[])
{
        _cleanup_(handoff_freep) struct handoff *h = NULL;
        json_object *record;
        struct failure f = {};
        int r;

        if (argc != 2 || !name_is_valid(argv[1])) {
                fprintf(stderr,
                        "usage: cprd-handoff ID\nIt is started by cprd, one for each handoff; see cprd(8).\n");
                return 64;
        }
        signal(SIGPIPE, SIG_IGN);
        h = handoff_new(argv[1]);
        r = tracee_setup();
        if (r >= 0)
                r = link_connect(h, &f);
        if (r < 0) {
                log_failure(LOG_ERR, &f, "cannot begin handoff %s", argv[1]);
                return 1;
        }
        record = journal_has_more(h->journal) ? stages_recover(h) : stages_run(h);
        if (record) {
                if (!h->order.only_check) /* a check has findings, and no outcome worth a line */
                        log_notice("%s", json_str(record, "outcome"));
                r = journal_append(h->journal, "record", record);
        }
        if (r < 0)
                log_error("cannot write the outcome to the journal: %s", strerror(-r));
        destination_clean_up(h);
        link_finish(h);
        return r < 0;
}
