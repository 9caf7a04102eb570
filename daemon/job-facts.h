/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The facts in a handoff's journal that cprd reads. cprd-handoff writes them, and more besides; only this
 * file of the daemon knows their names and members.
 */

#include "proto/base.h"

/* Merges in a fact: its members override earlier ones, inside objects too. */
void job_facts_merge(json_object *facts, json_object *fact);

/* Qemu of io.cprd.varlink, as far as known; the caller's to put. */
json_object *job_facts_source(json_object *facts, json_object *order);
json_object *job_facts_destination(json_object *facts, json_object *order);

int64_t job_facts_cid(json_object *facts);   /* -1: not known yet */
int64_t job_facts_pause(json_object *facts); /* in µs; -1: not over yet */
/* Whether the point of no return is passed: the destination has the guest. */
bool job_facts_committed(json_object *facts);
/* The destination's process; false: none yet. */
bool job_facts_destination_process(json_object *facts, int64_t *ret_pid, int64_t *ret_start_time);

/* {"version"?, "machine"?} of "source" or "destination", borrowed; NULL: nothing known. */
json_object *job_facts_qemu(json_object *facts, const char *which);
/* Takes what was learnt about a binary (learnt.h) out of the facts; the caller's to put. NULL: nothing. */
json_object *job_facts_take_learnt(json_object *facts);
