/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Shows a handoff as it happens, one line per stage. On a terminal the current stage has a spinner and its
 * time so far; in a pipe each line appears when its stage has ended. The heading, which says what replaces
 * what, is known only after the check; lines of stages that end earlier are held back until then.
 */

#include "cli/format.h"

struct live {
        FILE *out;
        bool terminal;
        const char *name;           /* borrowed: the VM's */
        const char *target;         /* borrowed: the binary asked for; NULL: the source's own path */
        bool has_head, has_version; /* whether the heading named the destination's version */
        json_object *check;         /* owned: the Progress of the check's end, until its findings are known */
        char *held;                 /* lines held back until there is a heading */
        size_t held_size;
        size_t n_stages; /* that have ended, not counting undos */
        char stage[32];  /* current; "": none */
        bool undo;
        uint64_t since; /* now_usec() when it began */
        unsigned frame; /* of the spinner */
};

void live_init(struct live *l, FILE *out, const char *name, const char *target);
void live_done(struct live *l);
/* One reply of Handoff that is not the last. */
void live_reply(struct live *l, json_object *reply);
/* Advances the spinner. */
void live_tick(struct live *l);
/* The Record: the outcome and what to do. */
void live_record(struct live *l, json_object *record);
