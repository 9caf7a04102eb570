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

/* The first query also takes the page faults of its code, which would be part of the pause. */
int takeover_prepare(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *nodes = NULL;
        json_object *flat = json_object_new_object();
        int r = wait_qmp(h, h->destination.qmp, "query-status", NULL, NULL, f);

        json_add_bool(flat, "flat", true);
        if (r >= 0)
                r = wait_qmp(h, h->destination.qmp, "query-named-block-nodes", TAKE_PTR(flat), &nodes, f);
        json_object_put(flat);
        h->destination.has_disks =
                json_object_is_type(nodes, json_type_array) && json_object_array_length(nodes) > 0;
        if (r >= 0)
                qmp_prepare(h->destination.qmp, "query-status");
        return r;
}

void takeover_ask(struct handoff *h)
{
        struct destination *d = &h->destination;

        takeover_done(h);
        d->takeover[STATUS] = (struct qmp_question){.command = "query-status"};
        if (d->has_disks) {
                json_object *active = json_object_new_object();

                json_add_bool(active, "active", true);
                d->takeover[ACTIVATION] =
                        (struct qmp_question){.command = "blockdev-set-active", .arguments = active};
        }
        qmp_ask(d->qmp, d->takeover, d->has_disks ? TAKEOVER_QUESTIONS : 1);
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

        /* The source may learn of the end of the load before the destination's main loop does. */
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
        if (!q[ACTIVATION].error) {
                qmp_prepare(h->destination.qmp, "cont");
                return 0;
        }
        failure_set(f, EREMOTEIO, "the destination cannot use the disks: %s", q[ACTIVATION].error);
        return failure_remedy(f, "see who else has locked the image; the source has its disks back");
}
