/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What cprd reads of the facts in a handoff's journal. They are written by cprd-handoff, which keeps more of
 * them than these; their names and members are known here and nowhere else in the daemon.
 */

#include "proto/base.h"

/* Adds a fact to the others: members of later facts win, those of objects within too. */
void job_facts_merge(json_object *facts, json_object *fact);

/* Qemu of io.cprd.varlink, of what is known yet; the caller's to put. */
json_object *job_facts_source(json_object *facts, json_object *order);
json_object *job_facts_destination(json_object *facts, json_object *order);

int64_t job_facts_cid(json_object *facts);   /* -1: not known yet */
int64_t job_facts_pause(json_object *facts); /* in µs; -1: it is not over yet */
/* Whether the point of no return was passed: the destination has the guest. */
bool job_facts_committed(json_object *facts);
/* The destination's process; false: there is none yet. */
bool job_facts_destination_process(json_object *facts, int64_t *ret_pid, int64_t *ret_start_time);

/* {"version"?, "machine"?} of "source" or "destination", borrowed; NULL: nothing. */
json_object *job_facts_qemu(json_object *facts, const char *which);
/* Takes what was learnt about a binary (learnt.h) out of the facts; the caller's to put. NULL: nothing. */
json_object *job_facts_take_learnt(json_object *facts);
