/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The API's socket, RUNTIME/io.cprd: connections, and the calls on them. A connection has one call open at a
 * time; what else it sends meanwhile waits, in its socket. What the methods do is in api.c.
 */

#include "daemon/caller.h"
#include "daemon/daemon.h"
#include "daemon/handoffs.h"

struct server;
struct connection;

/* A call that has not had its last reply. Lives until call_reply() or call_error(), or until its connection
 * goes: then gone() is called first, where there is one. */
struct call {
        struct daemon *daemon;
        struct connection *connection;
        const struct caller *caller;
        json_object *parameters; /* never NULL */
        bool more, oneway;
        struct observer observer;
        bool has_findings; /* of a Handoff: they were sent */
        void *data;
        void (*gone)(struct call *call);
};

/* The last reply; the call is freed. They take the reference of @parameters, which may be NULL. @error
 * without a dot is one of io.cprd's. */
void call_reply(struct call *call, json_object *parameters);
void call_error(struct call *call, const char *error, json_object *parameters);
/* One of several replies, for a call with `more`; not sent to others. */
void call_continue(struct call *call, json_object *parameters);

int server_listen(struct daemon *d, struct failure *f);
/* Takes over one end of a stream connection, as if it had been accepted. */
int server_adopt(struct daemon *d, int fd);
void server_free(struct daemon *d);
