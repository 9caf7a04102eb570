/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The records of past handoffs: one JSON file each, under /var/lib/cprd/history, named so that the order of
 * their names is the order in which they ended. The oldest go when there are too many. Each record also goes
 * to the system's journal, with a MESSAGE_ID (systemd/cprd.catalog) and fields.
 */

#include "daemon/daemon.h"

#define HISTORY_REPLY_MAX 100 /* records of one reply */

/* Keeps a record; one whose id is kept already is not kept twice. */
int history_add(struct daemon *d, json_object *record, struct failure *f);

/* The newest records first, at most HISTORY_REPLY_MAX; of one VM and one id where these are not NULL. An
 * array, the caller's to put. */
json_object *history_list(struct daemon *d, const char *name, const char *id);

/* The one line for people, and the fields for programs. */
void history_log(json_object *record);
