/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The records of past handoffs: one JSON file each, STATE/history/TIME-ID-NAME.json, so that the names alone
 * tell in which order they ended and which VM each is about. The names are kept in memory. When there are too
 * many records, the oldest go.
 */

#include "proto/base.h"

#define HISTORY_REPLY_MAX 100 /* records in one reply */

struct history {
        char *directory;
        size_t limit, n, room;
        struct history_entry *entries; /* oldest first */
};

int history_init(struct history *h, const char *state, int64_t limit, struct failure *f);
void history_done(struct history *h);

bool history_has(const struct history *h, const char *id);

/* Keeps a record of handoff @id of VM @name, with the current time. An id that is already kept is not kept
 * twice. */
int history_add(struct history *h, const char *id, const char *name, json_object *record, struct failure *f);

/* The newest records first, at most HISTORY_REPLY_MAX and what fits into a message; of one VM or one id where
 * these are not NULL. An array of records that can only be printed, the caller's to put. */
json_object *history_list(const struct history *h, const char *name, const char *id);
