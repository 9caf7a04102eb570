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
