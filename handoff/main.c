/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * cprd-handoff ID: one handoff, from its order to its outcome. Started by cprd as cprd-handoff@ID.service.
 */

#include "common/log.h"
#include "handoff/check.h"
#include "handoff/destination.h"
#include "handoff/sandbox.h"
#include "handoff/stages.h"

#include <signal.h>

static int take_journal(struct handoff *h, int fd, struct failure *f)
{
        _cleanup_json_ json_object *line = NULL;
        int r = journal_open(fd, true, &h->journal, f);

        if (r >= 0)
                r = journal_next(h->journal, &line, f);
        if (r == 0)
                r = failure_set(f, EBADMSG, "the journal has no order");
        if (r > 0)
                r = order_read(&h->order, line, f);
        if (r >= 0)
                log_set_context(h->order.name, h->order.id);
        return r;
}

static int take_process(struct process *p, int pidfd)
{
        process_close(p);
        /* One that has exited meanwhile is no longer a process; the stages will notice that it is missing. */
        if (process_adopt(p, pidfd, NULL) < 0)
                close(pidfd);
        return 0;
}

/* For link_connect(): what cprd has for this handoff. */
static int take_message(void *userdata, const struct handoff_message *m, int fd, struct failure *f)
{
        struct handoff *h = userdata;

        switch (m->op) {
        case HANDOFF_ORDER:
                return take_journal(h, fd, f);
        case HANDOFF_DEVICE:
                close_fd(h->device);
                h->device = fd;
                h->facts.source.cid = (int64_t)m->value;
                return 0;
        case HANDOFF_PROCESS:
                return take_process(m->role == HANDOFF_SOURCE ? &h->source.process : &h->destination.process,
                                    fd);
        default:
                close_fd(fd);
                return failure_set(f, EBADMSG, "cprd sent %s before BEGIN", handoff_op_name(m->op));
        }
}

static int finish(struct handoff *h, json_object *record)
{
        int r = 0;

        if (record) {
                /* A check has findings, and no outcome worth a line. */
                log_full(STREQ(h->order.until, "check") ? LOG_DEBUG : LOG_NOTICE, NULL, NULL, "%s",
                         json_str(record, "outcome"));
                r = journal_append(h->journal, "record", record);
        }
        if (r < 0)
                log_error("cannot write the outcome to the journal: %s", strerror(-r));
        destination_clean_up(h);
        link_finish(&h->link);
        return r;
}

/* What an earlier process left is brought to its end, sandbox or not. */
static json_object *recover(struct handoff *h)
{
        struct failure f = {};

        if (sandbox_enter(&f) < 0)
                log_failure(LOG_WARNING, &f, "the recovery goes on without a sandbox");
        return walk_recover(&handoff_walk, h);
}

static int run(const char *id)
{
        _cleanup_(handoff_freep) struct handoff *h = handoff_new(id);
        struct failure f = {};
        int r = tracee_setup();

        signal(SIGPIPE, SIG_IGN);
        if (r >= 0)
                r = link_connect(&h->link, id, take_message, h, &f);
        if (r >= 0 && !h->journal)
                r = failure_set(&f, EBADMSG, "cprd sent no order");
        if (r < 0) {
                log_failure(LOG_ERR, &f, "cannot begin handoff %s", id);
                return r;
        }
        return finish(h, journal_has_more(h->journal) ? recover(h) : walk_run(&handoff_walk, h));
}

int main(int argc, char *argv[])
{
        if (argc == 2 && STREQ(argv[1], "--checks")) {
                check_print();
                return 0;
        }
        if (argc == 2 && STREQ(argv[1], "--stages")) {
                stages_print(&handoff_walk);
                return 0;
        }
        if (argc != 2 || !name_is_valid(argv[1])) {
                fprintf(stderr, "usage: cprd-handoff ID\n"
                                "It is started by cprd, one for each handoff; see cprd-handoff(8).\n"
                                "       cprd-handoff --stages\n"
                                "Prints the stages of a handoff as JSON.\n"
                                "       cprd-handoff --checks\n"
                                "Prints the ids of all preflight checks.\n");
                return 64;
        }
        return run(argv[1]) < 0;
}
