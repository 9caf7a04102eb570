/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Gets a job done: starts a cprd-handoff for it, watches it, starts another to recover if it dies (and gives
 * up after several), and records the outcome. Any of these may end and free the job.
 */

#include "daemon/helper.h"
#include "daemon/queue.h"

/* Its turn has come: queue->begin. */
void runner_begin(struct job *j);

/* A cprd-handoff has connected. @again: it already has its order and had only lost its connection. Returns
 * ENOENT: it is not expected. */
int runner_connected(struct job *j, struct helper *h, bool again);
/* It has sent something, so it is alive. */
void runner_heard(struct job *j);
/* The journal has grown. */
void runner_read(struct job *j);
/* It has finished. */
void runner_finished(struct job *j);
/* It has died, or is useless. */
void runner_lost(struct job *j, const char *why);
/* An orphan: there is no cprd-handoff that could reconnect. */
void runner_absent(struct job *j);

/* How long its cprd-handoff may go without a sign of life, in µs. */
uint64_t runner_silence(const struct config *config);
/* Sets the job's one timer. */
void runner_set_timer(struct job *j, uint64_t usec);

/* Cancels it: it is rolled back. EALREADY: it is past the point of no return. */
int runner_cancel(struct job *j);

/* j->record is there: keeps it, tells the observers, and frees the job. */
void runner_end(struct job *j);
