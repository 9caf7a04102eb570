/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The journal of one handoff: a file of JSON lines, /run/cprd/handoffs/ID, that names a step before it
 * begins. cprd writes the first line (the order) and only reads after that; cprd-handoff writes the rest.
 * journal_append() returns once the line is in the file, so a recovery never knows less than was done.
 * Nothing is synced: a host that crashes takes its VMs with it.
 *
 *   {"order": {"id", "name", "caller", "pid", "startTime", "binary"?, "qmp", "maxPause",
 *             "binaries", "learnt", "deadlines"?, "faults"?, "until": "check"|"retire", "begun"}}
 *   {"fact": {…}}                     something a recovery needs to know; later facts override members
 *   {"finding": {Finding}}            of io.cprd.varlink
 *   {"progress": {Progress}}          of io.cprd.varlink; "begin" is written before the step begins
 *   {"record": {Record}}              the outcome; the last line
 *
 * A last line without its newline was being written when the writer died: it is ignored, and cut off by the
 * next line.
 */

#include "proto/base.h"

struct journal;

/* Takes over the fd (even on failure) and reads what is there. @writable: this process appends. */
int journal_open(int fd, bool writable, struct journal **ret, struct failure *f);
struct journal *journal_free(struct journal *j);
static inline void journal_freep(struct journal **j)
{
        *j = journal_free(*j);
}

/* Appends {kind: value} as one line. Takes the reference of @value. */
int journal_append(struct journal *j, const char *kind, json_object *value);

/* The next line that this reader has not read; the caller's to put. Returns 1; 0: none yet; EBADMSG: not a
 * journal. */
int journal_next(struct journal *j, json_object **ret_line, struct failure *f);

/* Whether there is a whole line that journal_next() has not returned. */
bool journal_has_more(struct journal *j);
