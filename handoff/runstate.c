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

/* Without a state: the guest goes on. Other ends than these are somebody's who wants an end of this QEMU, and
 * not of the guest: there the way is forward. */
static const struct {
        const char *event, *key, *value; /* NULL: whatever it says */
        const char *state;
} late[] = {
        {"SHUTDOWN", "reason", "guest-shutdown", "shutdown"},
        {"SHUTDOWN", "reason", "guest-reset", "shutdown"},
        {"SHUTDOWN", "reason", "guest-panic", "shutdown"},
        {"SHUTDOWN", "reason", "host-qmp-system-reset", "shutdown"},
        {"GUEST_PANICKED", "action", "pause", "guest-panicked"},
        {"WATCHDOG", "action", "pause", "watchdog"},
        {"RESET"},
        {"POWERDOWN"},
};

/* Those after which a guest goes on have gone into its state if they came before the STOP. */
static bool has_come(const struct handoff *h, size_t i)
{
        uint64_t after = h->source.events - 1;
        json_object *event;

        if (!late[i].state && !qmp_event(h->source.qmp, "STOP", after, &after))
                return false;
        event = qmp_event(h->source.qmp, late[i].event, after, NULL);
        return event &&
               (!late[i].key || STREQ(json_str(json_obj(event, "data"), late[i].key) ?: "", late[i].value));
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
