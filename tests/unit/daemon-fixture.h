/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The whole daemon in one process, without systemd: callers over socketpairs, and processes named like a
 * QEMU. What its cprd-handoffs do is in fake-helper.h.
 */

#include "daemon/daemon.h"
#include "proto/varlink.h"
#include "test.h"

extern struct daemon d;
extern char *fixture_runtime, *fixture_state, *fixture_qmp;

/* Directories, a socket that looks like QMP's, and the daemon. */
void fixture_set_up(void);
void fixture_tear_down(void);
/* The daemon goes, and a new one comes. */
void fixture_stop(void);
void fixture_start(void);

/* Readable JSON: with ' for ", and formatted. Valid for a few more calls of this. */
const char *json_text(const char *format, ...) _printf_(1, 2);

/* One turn of the daemon's loop, of at most 20 ms. */
void turn(void);
/* Turns until @done says so. */
void turn_until(bool (*done)(void));

struct varlink *caller_new(void);
void caller_send(struct varlink *v, const char *method, const char *parameters, bool more);
/* The next message, waiting for it; NULL: the connection was closed. */
json_object *caller_receive(struct varlink *v);
void caller_expect_closed(struct varlink *v);

/* Calls over a connection of its own, and returns {"error"?, "parameters"}. */
json_object *call(const char *method, const char *parameters);
void expect_error(const char *method, const char *parameters, const char *error);
void expect_done(const char *method, const char *parameters);

/* A process named like a QEMU. */
pid_t qemu_start(void);
void qemu_kill(pid_t pid);

void register_vm(const char *name, pid_t pid);
void unregister_vm(const char *name);
/* The VM; the caller's to put. */
json_object *describe(const char *name);
void expect_state(const char *name, const char *wanted);
