/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The record of a job that has ended (Record of io.cprd.varlink). Normally cprd-handoff writes it. */

#include "daemon/job.h"

/* Makes a record when no cprd-handoff can. @remedy may be NULL. */
void job_record_make(struct job *j, const char *outcome, const char *reason, const char *remedy);

/* Checks and completes j->record: a cprd-handoff that recovered knows less than the journal. */
void job_record_complete(struct job *j);

bool job_record_is(const struct job *j, const char *outcome);
