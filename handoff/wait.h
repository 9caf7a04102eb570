/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The one loop of a handoff. It handles whatever happens (a stop of the destination, QMP traffic, the CPR
 * channel, a message from cprd, a death) until what it was called for is there. All of these functions fail
 * when the current step has to end (h->step; the flags are in step.h):
 *
 *   ETIMEDOUT  its deadline has passed
 *   ESRCH      a process that it needs has exited
 *   ECANCELED  it was cancelled, or somebody else has stopped the guest
 *   ETIME      the pause budget is used up
 */

#include "handoff/handoff.h"

/* Until @ready returns 1, or a negative errno, which is returned. */
int wait_until(struct handoff *h, int (*ready)(struct handoff *h, void *userdata), void *userdata,
               struct failure *f);
/* The same, but for @usec at most. Returns 0 if it was not ready by then. */
int wait_at_most(struct handoff *h, uint64_t usec, int (*ready)(struct handoff *h, void *userdata),
                 void *userdata, struct failure *f);
/* Looks once, without waiting. */
int wait_look(struct handoff *h, struct failure *f);

/* Sends a QMP command and waits for its reply. Takes @arguments over; @ret_result (may be NULL) is the
 * caller's. EREMOTEIO: QEMU says no. Another error: the connection has ended. */
int wait_qmp(struct handoff *h, struct qmp *q, const char *command, json_object *arguments,
             json_object **ret_result, struct failure *f);
/* The same with an fd for `getfd`, which stays the caller's. */
int wait_qmp_fd(struct handoff *h, struct qmp *q, const char *command, json_object *arguments, int pass_fd,
                json_object **ret_result, struct failure *f);
/* Waits for the reply to what was sent before; @command is its name in a failure. */
int wait_reply(struct handoff *h, struct qmp *q, const char *command, json_object **ret_result,
               struct failure *f);
/* Waits for the answers to two batches (qmp.h), sent at the same time; either may be empty. An error answer
 * from QEMU is not a failure. */
int wait_answers(struct handoff *h, struct qmp_question *to_source, size_t n_to_source,
                 struct qmp_question *to_destination, size_t n_to_destination, struct failure *f);
/* Waits for the greeting, @usec at most, and ends the negotiation of capabilities. EBUSY: there was none. */
int wait_greeting(struct handoff *h, struct qmp *q, uint64_t usec, struct failure *f);
/* Waits for an event named @name that came after event number @after (0: any). Its time stamp is in *ret_usec
 * unless that is NULL. */
int wait_event(struct handoff *h, struct qmp *q, const char *name, uint64_t after, uint64_t *ret_usec,
               struct failure *f);
