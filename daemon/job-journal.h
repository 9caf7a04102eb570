/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A job's directory, RUNTIME/handoffs/ID, and its journal: cprd writes the first line, the order, and then
 * only reads what cprd-handoff writes. */

#include "daemon/job.h"

/* Creates the directory and the journal with the job's order, and opens it for reading. */
int job_journal_create(struct job *j, struct failure *f);
/* Opens the journal that an earlier cprd left. */
int job_journal_load(struct job *j, struct failure *f);
/* The journal as an fd for a cprd-handoff, which writes to it; or a negative errno. */
int job_journal_open(const struct job *j);

/* Reads on, and tells observers. EBADMSG: a line is not one of a journal. The record may be there
 * afterwards. */
int job_journal_read(struct job *j, struct failure *f);

/* Removes the directory and all that cprd-handoff and the VM's user may have left in it. */
void job_journal_remove(const struct job *j);
