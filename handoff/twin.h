/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Brings the destination's command line up to what the source is now: the source has changed since it was
 * started by its own. What it has lost is left out, what it has gained is added, every PCI device is pinned
 * to the address that it has. Management tools start the destination of any migration like that too. match.h
 * proves that it was right; what cannot be brought over is left as it is, and found there. docs/twin.md.
 */

#include "handoff/handoff.h"

/* Changes h->destination.cmdline, and reports that in h->findings. */
int twin_adapt(struct handoff *h, struct failure *f);

/* ---- for twin-….c ---- */

enum {
        TWIN_QTREE,
        TWIN_NETWORK,
        TWIN_CHARDEVS,
        TWIN_OBJECTS,
        TWIN_PERIPHERAL,
        TWIN_BLOCK,
        TWIN_NODES,
        TWIN_GRAPH, /* experimental, so the last: see side.h */
        N_TWIN_QUESTIONS,
};

struct twin {
        struct handoff *h;
        struct qmp_question live[N_TWIN_QUESTIONS]; /* the source's answers */
        json_object *devices;                       /* owned: of qtree.h */
        json_object *blockdevs;                     /* owned: of the command line, by node name */
        json_object *told;                          /* owned: of qdict.h; NULL: not read yet */
        struct cmdline out;                         /* owned: being made */
        bool blockdevs_kept;                        /* as they are on the command line */
        size_t n_drives;                            /* made here */
};

void twin_add(struct twin *t, const char *option, const char *value);
/* A finding with the id "twin": what was done, and why. */
void twin_say(struct twin *t, const char *what, ...) _printf_(2, 3);
/* A blocker of the id @id: `check` tells it already. */
void twin_refuse(struct twin *t, const char *id, const char *remedy, const char *what, ...) _printf_(4, 5);

/* Each takes an option of the command line, and adds what is to replace it. */
void twin_take_device(struct twin *t, const char *value);
void twin_take_drive(struct twin *t, const char *value);

/* ---- block nodes ---- */

#define TWIN_DEPTH_MAX 64

/* One that QEMU has named by itself, differently in each process. */
static inline bool twin_is_unnamed(const char *name)
{
        return name[0] == '#';
}

/* Of query-named-block-nodes; NULL: there is none. */
json_object *twin_find_node(struct twin *t, const char *name);
/* Calls @visit for each child of a node, with its role; ends when that returns false. */
bool twin_for_each_child(struct twin *t, const char *name,
                         bool (*visit)(struct twin *t, const char *role, const char *child, void *userdata),
                         void *userdata);
/* Whether a -blockdev describes it within another node. */
bool twin_is_described(struct twin *t, const char *name);
/* Whether it is what a -blockdev of the command line, @given, makes. */
bool twin_is_unchanged(struct twin *t, const char *name, const char *given);

/* The options of a node, as the command line has them or else as the source does, with the children that it
 * has now; adds it, after its children. @done: a set of the names that are there by now. NULL: it cannot be
 * made; if that is for what QEMU does not tell of it, it has been refused by name. */
json_object *twin_make_node(struct twin *t, const char *name, json_object *done, unsigned depth);
/* Whether a -drive with the options @value makes of the node @name what it is, if it names its file. */
bool twin_drive_makes(struct twin *t, const char *value, const char *name);

/* What a -drive needs so that its node is as @name, one without a name of which the file and the format are
 * known: ",KEY=VALUE…", the caller's. NULL: it cannot be known. */
char *twin_drive_hidden(struct twin *t, const char *name, bool read_only);

/* Finds the nodes of -blockdev on the command line @c. */
void twin_read_blockdevs(struct twin *t, const struct cmdline *c);
/* Adds -blockdev for all named nodes of the source, in place of those on the command line; the same as there
 * if nothing has changed. */
void twin_add_blockdevs(struct twin *t, const struct cmdline *c);
/* What a device's drive= must be: *ret (the caller's), NULL: nothing, its drive is empty. False:
 * unchanged. */
bool twin_drive_of(struct twin *t, const char *id, const char *drive, char **ret);

/* Adds -object and -device for what was plugged in. */
int twin_add_gained(struct twin *t, struct failure *f);
