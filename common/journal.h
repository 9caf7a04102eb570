/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The journal of one handoff: a file of JSON lines, /run/cprd/handoffs/ID, that names a step before it is
 * begun. cprd writes the first line (the order) and only reads from then on; cprd-handoff writes the others.
 * What has been appended is in the file when journal_append() returns, so whoever recovers after the writer's
 * death knows at least as much as was done. Nothing is synced: a host that crashes takes its VMs with it.
 *
 *   {"order": {"id", "name", "caller", "pid", "startTime", "binary"?, "qmp", "maxPause",
 *             "binaries", "learnt", "deadlines"?, "faults"?, "until": "check"|"retire", "begun"}}
 *   {"fact": {…}}                     something learned that a recovery needs; members of later facts win
 *   {"finding": {Finding}}            of io.cprd.varlink
 *   {"progress": {Progress}}          of io.cprd.varlink; "begin" is written before the step is
 *   {"record": {Record}}              the outcome; the last line
 *
 * A last line without its newline was being written when the writer died: it is ignored, and cut off by the
 * next.
 */

#include "proto/base.h"

struct journal;

/* Takes the fd over (also when it fails), reads what is there. @writable: this process appends. */
int journal_open(int fd, bool writable, struct journal **ret, struct failure *f);
struct journal *journal_free(struct journal *j);
static inline void journal_freep(struct journal **j)
{
        *j = journal_free(*j);
}

/* Appends {kind: value} as one line. Takes the reference of @value. */
int journal_append(struct journal *j, const char *kind, json_object *value);

/* The next line not yet read by this reader; the caller's to put. Returns 1, 0: none yet, EBADMSG: not a
 * journal. */
int journal_next(struct journal *j, json_object **ret_line, struct failure *f);

/* Whether there is a whole line that journal_next() has not returned. */
bool journal_has_more(struct journal *j);
