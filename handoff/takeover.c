/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/takeover.h"

#include "handoff/runstate.h"
#include "handoff/wait.h"

enum { STATUS, ACTIVATION };
_Static_assert(ACTIVATION + 1 == TAKEOVER_QUESTIONS, "side.h");

void takeover_done(struct handoff *h)
{
        struct destination *d = &h->destination;

        if (d->qmp)
                qmp_forget(d->qmp);
        for (size_t i = 0; i < TAKEOVER_QUESTIONS; i++)
                qmp_question_done(&d->takeover[i]);
}

void takeover_ask(struct handoff *h)
{
        struct destination *d = &h->destination;
        json_object *active = json_object_new_object();

        takeover_done(h);
        json_add_bool(active, "active", true);
        d->takeover[STATUS] = (struct qmp_question){.command = "query-status"};
        d->takeover[ACTIVATION] =
                (struct qmp_question){.command = "blockdev-set-active", .arguments = active};
        qmp_ask(d->qmp, d->takeover, TAKEOVER_QUESTIONS);
        qmp_answers(d->qmp, NULL);
}

static int is_answered(struct handoff *h, void *userdata)
{
        return qmp_answers(h->destination.qmp, userdata);
}

int takeover_await(struct handoff *h, struct failure *f)
{
        const struct qmp_question *q = h->destination.takeover;
        const char *state = "inmigrate";

        /* The source may know of the end of the load before the destination's main loop does. */
        while (STREQ(state, "inmigrate")) {
                int r = wait_until(h, is_answered, f, f);

                if (r < 0)
                        return r;
                state = json_str(q[STATUS].reply, "status") ?: "unknown";
                if (STREQ(state, "inmigrate"))
                        takeover_ask(h);
        }
        if (!STREQ(state, "paused"))
                return runstate_note(h, state, f);
        if (!q[ACTIVATION].error)
                return 0;
        failure_set(f, EREMOTEIO, "the destination cannot use the disks: %s", q[ACTIVATION].error);
        return failure_remedy(f, "see who else has locked the image; the source has its disks back");
}
