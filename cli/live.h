/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A handoff to look at while it runs: a line per stage. On a terminal the stage under way has a moving mark
 * and its time so far; in a pipe a line comes when its stage has ended. The line above them, what is replaced
 * by what, is known after the check: what ended before it waits.
 */

#include "cli/format.h"

struct live {
        FILE *out;
        bool terminal;
        const char *name;           /* borrowed: the VM's */
        const char *target;         /* borrowed: the binary asked for; NULL: the source's own path */
        bool has_head, has_version; /* whether the head said the destination's version */
        json_object *check;         /* owned: the Progress of the check's end, until its findings are known */
        char *held;                 /* lines that wait for the head */
        size_t held_size;
        size_t n_stages; /* that have ended, not counting those undone */
        char stage[32];  /* under way; "": none */
        bool undo;
        uint64_t since; /* now_usec() when it began */
        unsigned frame; /* of the moving mark */
};

void live_init(struct live *l, FILE *out, const char *name, const char *target);
void live_done(struct live *l);
/* One reply of Handoff that is not the last. */
void live_reply(struct live *l, json_object *reply);
/* Moves the mark. */
void live_tick(struct live *l);
/* The Record: the outcome and what to do. */
void live_record(struct live *l, json_object *record);
