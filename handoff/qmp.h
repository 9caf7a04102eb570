/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One connection to a QEMU's monitor (QMP; docs/interop/qmp-spec.rst of QEMU): commands, their
 * replies, and the events that come in between. It never waits: waiting is done in wait.c, over its
 * fd.
 */

#include "handoff/question.h"

struct qmp;

/* Connects to the unix socket @path, in this process's mount namespace. ECONNREFUSED, ENOENT: nobody listens.
 * The greeting comes later: a QMP server has one client at a time, and keeps a second one waiting without a
 * word. */
int qmp_connect(const char *path, struct qmp **ret, struct failure *f);
/* The same for a stream that is connected already; takes @fd over. */
int qmp_new(int fd, struct qmp **ret);
struct qmp *qmp_free(struct qmp *q);
static inline void qmp_freep(struct qmp **q)
{
        *q = qmp_free(*q);
}

int qmp_fd(struct qmp *q); /* stays the connection's; -EBADF once it has been closed from the other side */
/* The peer's pid as of its listen(2); 0: unknown. */
pid_t qmp_peer_pid(struct qmp *q);

/* Reads what has come. Returns 0; a negative errno: the connection is over (ECONNRESET) or speaks no QMP
 * (EBADMSG), and stays so. */
int qmp_read(struct qmp *q);
/* Whether it has, as the errno that qmp_read() returned; 0: it has not. */
int qmp_error(const struct qmp *q);

/* The greeting, once it has come; borrowed. */
json_object *qmp_greeting(struct qmp *q);

/* Sends a command. Takes the reference of @arguments (may be NULL). The replies to those that were sent
 * before are dropped when they come. @pass_fd stays the caller's (-EBADF: none); only `getfd` takes one. */
int qmp_send(struct qmp *q, const char *command, json_object *arguments, int pass_fd);
/* Sends @command (a literal, without arguments) but for its closing brace, at which QEMU obeys. QEMU reads
 * byte by byte, which takes it 11 µs each and far more on a busy host; what is sent ahead is not part of the
 * pause. If the next command is another one QEMU is made to refuse this one first. */
void qmp_prepare(struct qmp *q, const char *command);
/* From now on only what @allows permits is sent; any other command fails as if QEMU had refused it. */
void qmp_restrict(struct qmp *q, bool (*allows)(const char *command, json_object *arguments));
/* The reply to the last command. Returns 1 with its `return` in *ret (the caller's); 0: not yet; or a
 * negative errno with QEMU's words in @f (EREMOTEIO: an `error` reply). */
int qmp_reply(struct qmp *q, json_object **ret, struct failure *f);

/*
 * A batch: queries that are sent one after the other without waiting for each reply, with some of them in
 * flight at any time. A new command ends a batch, and its late replies are dropped.
 */

/* Begins with @n questions, which stay the caller's and must not move until qmp_answers() says that they are
 * answered, or until qmp_forget(). */
void qmp_ask(struct qmp *q, struct qmp_question *questions, size_t n);
/* Sends what may be sent by now. Returns 1: all are answered; 0: not yet; or the connection's errno. Call it
 * after each qmp_read(). */
int qmp_answers(struct qmp *q, struct failure *f);
void qmp_forget(struct qmp *q);

/* The last event of that name that has come since @after (0: ever), or NULL; borrowed. Its number, counted
 * from 1, goes to *ret_number, if wanted. Events are kept until the connection ends, up to a bound; the
 * oldest go first. Name and time of an event are kept, and of its data status, action and reason. */
json_object *qmp_event(struct qmp *q, const char *name, uint64_t after, uint64_t *ret_number);
/* How many events have come. */
uint64_t qmp_event_count(const struct qmp *q);
/* What the last MIGRATION event that has come since @after said; NULL: there was none. Borrowed. */
const char *qmp_migration_status(struct qmp *q, uint64_t after);
/* An event's time: µs since the epoch, of the host's clock, as QEMU stamped it; 0: none. */
uint64_t qmp_event_usec(json_object *event);
