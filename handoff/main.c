/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * cprd-handoff ID: one handoff, from its order to its outcome. Started by cprd as cprd-handoff@ID.service.
 */

#include "common/log.h"
#include "handoff/check.h"
#include "handoff/destination.h"
#include "handoff/stages.h"

#include <signal.h>

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
        link_finish(h);
        return r;
}

static int run(const char *id)
{
        _cleanup_(handoff_freep) struct handoff *h = handoff_new(id);
        struct failure f = {};
        int r = tracee_setup();

        signal(SIGPIPE, SIG_IGN);
        if (r >= 0)
                r = link_connect(h, &f);
        if (r < 0) {
                log_failure(LOG_ERR, &f, "cannot begin handoff %s", id);
                return r;
        }
        return finish(h, journal_has_more(h->journal) ? walk_recover(&handoff_walk, h)
                                                      : walk_run(&handoff_walk, h));
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
