/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The facts of a handoff: everything that a recovery has to know and that cprd wants to tell. They are
 * members of one struct, and lines of the journal under the names in the table of facts.c.
 */

#include "common/journal.h"

#include <sys/types.h>

struct facts {
        struct source_facts {
                int64_t device_fd; /* the source's number of the device; -1: none found */
                int64_t cid;
                int64_t uid, gid; /* its real ones: what it may do to files */
                char *binary;     /* owned, like all strings here: its path, without " (deleted)" */
                char *version;    /* query-version */
                char *machine;    /* the versioned machine type */
        } source;
        struct destination_facts {
                int64_t pid, start_time;
                int64_t oom_score_adj; /* of the source, to be set after commit */
                char *binary;          /* path in the source's mount namespace */
                char *version;
        } destination;
        struct heap_facts {
                int64_t address, size; /* what heap_lock() locked; 0: nothing */
        } heap;
        struct device_facts {
                int64_t backend_features; /* what the source's QEMU had set; 0: nothing */
                bool replaced;            /* the source has, or is about to get, another one */
        } device;
        struct migration_facts {
                bool asked;      /* `migrate` was sent, or is about to be */
                char *run_state; /* owned: in which the guest was found and is left; NULL: it ran */
                bool loaded;     /* the destination has all of the guest's state: the source is not needed any
                                    more */
        } migration;
        json_object *listeners;          /* owned: paths; NULL: none made yet */
        char *pidfile;                   /* owned: of the VM; NULL: no destination has one yet */
        json_object *vnc;                /* owned: names of fds that the destination has (vnc.c) */
        json_object *connections;        /* owned: of chardevs (connection.c) */
        json_object *connections_before; /* owned: as in struct connections */
        json_object *settings;           /* owned: what was changed in the source (settings.c) */
        json_object *holes;              /* owned: numbers of the source's fds that holes.c has made */
        int64_t pause;                   /* µs */
        bool committed;                  /* only forward from here */
};

void facts_init(struct facts *facts);
void facts_done(struct facts *facts);

/* Writes one member of the table (a whole group, "source" for example) to the journal. */
int facts_note(struct facts *facts, struct journal *j, const char *name, struct failure *f);
/* Takes in a line written by facts_note(). What it does not name stays as it is. */
void facts_take(struct facts *facts, json_object *fact);
