/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The stages of a handoff, and how they are walked. The table is in stages.c and knows nothing of walking;
 * walk.c walks any table, which its unit test makes use of.
 */

#include "handoff/handoff.h"

struct stage {
        const char *name;
        int (*act)(struct handoff *h, struct failure *f);
        int (*undo)(struct handoff *h, struct failure *f); /* NULL: nothing to undo */
        uint64_t deadline;                                 /* µs, for each of the two */
        unsigned flags;
        const char *outcome; /* of a handoff that was to end here; NULL: none can */
};

struct walk {
        const struct stage *stages;
        size_t n;
};

/* The table of a handoff. */
extern const struct walk handoff_walk;

/* Prints the table as a JSON array of {"name", "undo", "deadline", "flags": […]}, for tests and documents. */
void stages_print(const struct walk *w);

/* Walks from the first stage to one of the ends. Returns the record for the journal, the caller's. Rolling
 * back is walking backwards from the stage that failed, until the journal says that the handoff is committed;
 * after that there is only forward. */
json_object *walk_run(const struct walk *w, struct handoff *h);

/* The same for a handoff whose cprd-handoff died: from its journal, and from what is really there, to one of
 * the ends. Returns NULL if it had already ended. */
json_object *walk_recover(const struct walk *w, struct handoff *h);
