/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Gets a job done: starts a cprd-handoff for it, watches over it, starts another one to recover when it has
 * died (and gives up after several), and puts the outcome on record. Any of these may end and free the job.
 */

#include "daemon/helper.h"
#include "daemon/queue.h"

/* Its turn has come: queue->begin. */
void runner_begin(struct job *j);

/* A cprd-handoff has connected. @again: it has its order already and had lost only its connection. Returns
 * ENOENT: not one that is waited for. */
int runner_connected(struct job *j, struct helper *h, bool again);
/* It has said something: it lives. */
void runner_heard(struct job *j);
/* The journal has grown. */
void runner_read(struct job *j);
/* It is through. */
void runner_finished(struct job *j);
/* It has died, or is of no more use. */
void runner_lost(struct job *j, const char *why);
/* Of an orphan: there is no cprd-handoff that could come back. */
void runner_absent(struct job *j);

/* How long its cprd-handoff may say and write nothing, in µs. */
uint64_t runner_silence(const struct config *config);
/* Sets the job's one timer. */
void runner_set_timer(struct job *j, uint64_t usec);

/* Somebody asked to cancel it: it is rolled back. EALREADY: it is past the point of no return. */
int runner_cancel(struct job *j);

/* j->record is there: keeps it, tells who waits for it, and frees the job. */
void runner_end(struct job *j);
