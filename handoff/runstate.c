/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/runstate.h"

int runstate_note(struct handoff *h, const char *state, struct failure *f)
{
        free(h->facts.migration.run_state);
        h->facts.migration.run_state = text_copy(state);
        handoff_note(h, "migration", NULL);
        failure_set(f, ECANCELED, "the guest does not run (%s), and cprd did not stop it: it stays that way",
                    state);
        return failure_remedy(f, "see why; continue it (QMP cont) if it is to run, and hand off then");
}

/* Without a state: the guest goes on. */
static const struct {
        const char *event, *action; /* NULL: any */
        bool guest;                 /* if it is the guest's doing */
        const char *state;
} late[] = {
        {"SHUTDOWN", NULL, true, "shutdown"}, /* else it is somebody's `quit`: forward */
        {"GUEST_PANICKED", "pause", false, "guest-panicked"},
        {"WATCHDOG", "pause", false, "watchdog"},
        {"RESET", NULL, false, NULL},
        {"POWERDOWN", NULL, false, NULL},
};

/* Those after which a guest goes on have gone into its state if they came before the STOP. */
static bool has_come(const struct handoff *h, size_t i)
{
        uint64_t after = h->source.events - 1;
        json_object *event, *data;

        if (!late[i].state && !qmp_event(h->source.qmp, "STOP", after, &after))
                return false;
        event = qmp_event(h->source.qmp, late[i].event, after, NULL);
        data = json_obj(event, "data");
        return event && (!late[i].guest || json_flag(data, "guest")) &&
               (!late[i].action || STREQ(json_str(data, "action") ?: "", late[i].action));
}

int runstate_require_no_late(struct handoff *h, struct failure *f)
{
        if (!h->source.qmp || !h->source.events)
                return 0;
        qmp_read(h->source.qmp);
        for (size_t i = 0; i < ELEMENTSOF(late); i++) {
                if (!has_come(h, i))
                        continue;
                if (late[i].state)
                        return runstate_note(h, late[i].state, f);
                failure_set(f, ECANCELED, "%s came while the guest was being stopped", late[i].event);
                return failure_remedy(f, "hand off again");
        }
        return 0;
}
