/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The commands of cprctl. Each takes the options and returns an exit status. */

#include "cli/client.h"

int verb_status(const struct options *o); /* overview.c */
int verb_probe(const struct options *o);
int verb_register(const struct options *o);
int verb_unregister(const struct options *o);
int verb_list(const struct options *o);
int verb_show(const struct options *o);
int verb_check(const struct options *o);
int verb_cancel(const struct options *o);
int verb_history(const struct options *o);

int verb_handoff(const struct options *o);
/* One handoff, of o->name, from the call to its end, which is in *ret_end (the caller's to put; NULL: cprd
 * cannot be reached, and stderr says so): {"id", "record"}, {"error", "parameters"}, or {"id", "lost": errno}
 * if it is not known.
 * @quiet: prints nothing else. */
int handoff_run(const struct options *o, bool quiet, json_object **ret_end);
/* 0, 2, 3 or 1 by the Record's outcome. */
int outcome_status(json_object *record);

/* The tables, for callers that show more than one thing: @vms an array of Vm, @binaries the one of Probe's
 * reply (NULL: not known), @records an array of Record. @width as for table_print(). */
void list_print(json_object *vms, json_object *binaries, FILE *out, size_t width);
void history_print(json_object *records, FILE *out, size_t width);
/* Removes records older than @since from a reply of History; @since in µs of CLOCK_REALTIME. */
void history_keep_since(json_object *reply, int64_t since);
