/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/placement.h"

#include "handoff/threads.h"
#include "handoff/wait.h"

enum { CPUS, IOTHREADS, N_QUESTIONS };

static void ask_for_threads(struct qmp_question questions[static N_QUESTIONS])
{
        questions[CPUS] = (struct qmp_question){.command = "query-cpus-fast"};
        questions[IOTHREADS] = (struct qmp_question){.command = "query-iothreads"};
}

int placement_carry_over(struct handoff *h, struct failure *f)
{
        _cleanup_(threads_done) struct threads source = {}, destination = {};
        struct qmp_question of_source[N_QUESTIONS], of_destination[N_QUESTIONS];
        int r;

        ask_for_threads(of_source);
        ask_for_threads(of_destination);
        r = wait_answers(h, of_source, N_QUESTIONS, of_destination, N_QUESTIONS, f);
        if (r >= 0)
                r = threads_read(&h->source.process, of_source[CPUS].reply, of_source[IOTHREADS].reply,
                                 &source, f);
        if (r >= 0)
                r = threads_read(&h->destination.process, of_destination[CPUS].reply,
                                 of_destination[IOTHREADS].reply, &destination, f);
        if (r >= 0)
                r = threads_apply(&source, &destination, f);
        for (size_t i = 0; i < N_QUESTIONS; i++) {
                qmp_question_done(&of_source[i]);
                qmp_question_done(&of_destination[i]);
        }
        return r;
}
