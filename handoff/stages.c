/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/stages.h"

#include "handoff/check.h"
#include "handoff/destination.h"
#include "handoff/match.h"
#include "handoff/migration.h"
#include "handoff/ownership.h"
#include "handoff/source.h"

#define MS USEC_PER_MSEC

/* A live update. Before `commit` every failure walks back up; after it there is only forward. */
static const struct stage stages[] = {
        /* who is it, and what must outlive it */
        {"identify", source_identify, source_forget, 30000 * MS,
         NEEDS_SOURCE | CANCELLABLE | TOUCHES_NOTHING},
        /* can it work? The guest does not notice */
        {"check", check_all, NULL, 60000 * MS,
         NEEDS_SOURCE | NEEDS_DESTINATION | CANCELLABLE | TOUCHES_NOTHING | ENDS_CHECKS, "checked"},
        /* the destination, at its first instruction, traced, holding the device that the source still owns */
        {"launch", destination_launch, destination_kill, 30000 * MS,
         NEEDS_SOURCE | NEEDS_DESTINATION | CANCELLABLE},
        /* the source sends its fds, and waits, its guest running, for the relay to hang up */
        {"begin", migration_begin, migration_cancel, 10000 * MS,
         NEEDS_SOURCE | NEEDS_DESTINATION | CANCELLABLE},
        /* the destination builds its machine; its ioctls on the device are withheld from the kernel */
        {"build", destination_build, NULL, 120000 * MS, NEEDS_SOURCE | NEEDS_DESTINATION | CANCELLABLE},
        /* both are compared; the pause is prepared to be short. A rehearsal ends here */
        {"match", match_twin, NULL, 120000 * MS, NEEDS_SOURCE | NEEDS_DESTINATION | CANCELLABLE, "rehearsed"},
        /* the relay hangs up: the guest stops, and its state moves; here the pause begins */
        {"load", migration_load, migration_continue, 10000 * MS,
         NEEDS_SOURCE | NEEDS_DESTINATION | CANCELLABLE | COUNTS_PAUSE},
        /* RESET_OWNER in the source, which nobody can continue from here on */
        {"release", ownership_release, ownership_take_back, 3000 * MS,
         NEEDS_DESTINATION | CANCELLABLE | COUNTS_PAUSE},
        /* SET_OWNER in the destination, and what was withheld */
        {"claim", ownership_claim, ownership_give_up, 3000 * MS,
         NEEDS_DESTINATION | CANCELLABLE | COUNTS_PAUSE},
        {"verify", ownership_verify, NULL, 3000 * MS, NEEDS_DESTINATION | CANCELLABLE | COUNTS_PAUSE},
        /* the guest runs again: here the pause ends */
        {"commit", destination_commit, NULL, 10000 * MS,
         NEEDS_DESTINATION | CANCELLABLE | COUNTS_PAUSE | COMMITS},
        /* the source goes, the destination takes its place under its name */
        {"retire", source_retire, NULL, 10000 * MS, 0},
};

const struct walk handoff_walk = {stages, ELEMENTSOF(stages)};

static const struct {
        unsigned flag;
        const char *name;
} flags[] = {
        {NEEDS_SOURCE, "needs-source"},
        {NEEDS_DESTINATION, "needs-destination"},
        {CANCELLABLE, "cancellable"},
        {COUNTS_PAUSE, "counts-pause"},
        {TOUCHES_NOTHING, "touches-nothing"},
        {ENDS_CHECKS, "ends-checks"},
        {COMMITS, "commits"},
};

void stages_print(const struct walk *w)
{
        _cleanup_json_ json_object *list = json_object_new_array();

        for (size_t i = 0; i < w->n; i++) {
                json_object *o = json_object_new_object(), *names = json_object_new_array();

                for (size_t j = 0; j < ELEMENTSOF(flags); j++)
                        if (w->stages[i].flags & flags[j].flag)
                                json_object_array_add(names, json_object_new_string(flags[j].name));
                json_add_str(o, "name", w->stages[i].name);
                json_add_bool(o, "undo", w->stages[i].undo != NULL);
                json_add_int(o, "deadline", (int64_t)w->stages[i].deadline);
                json_add(o, "flags", names);
                json_object_array_add(list, o);
        }
        printf("%s\n", json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY));
}
