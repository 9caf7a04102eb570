/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The API's socket, RUNTIME/io.cprd: connections, and the calls on them. A connection has one call open at a
 * time, and none until it has read the replies to earlier ones; whatever else it sends waits in its socket.
 * Connections take turns, call by call.
 */

#include "daemon/caller.h"

#include <systemd/sd-event.h>

#define SERVER_CONNECTIONS 256
#define SERVER_FEW         192 /* of callers other than root, so that root always gets in */
#define SERVER_CALL_MAX    (64U << 10)          /* bytes of a call */
#define SERVER_IDLE_USEC   (300 * USEC_PER_SEC) /* without a call, and without reading a reply */

struct connection;

/* A call that has not had its last reply. It lives until call_reply() or call_error(), or until its
 * connection is closed. */
struct call {
        struct connection *connection;
        const struct caller *caller;
        void *context;           /* the server's */
        json_object *parameters; /* never NULL */
        bool more, oneway;

        /* Needed by whoever answers later; gone() frees it, after the last reply too. */
        void *data;
        void (*gone)(struct call *call);
};

/* The last reply; frees the call. Takes the reference of @parameters, which may be NULL. @error without a dot
 * is one of io.cprd's. */
void call_reply(struct call *call, json_object *parameters);
void call_error(struct call *call, const char *error, json_object *parameters);
/* One of several replies, for a call with `more`; other calls do not get it. */
void call_continue(struct call *call, json_object *parameters);

struct server {
        sd_event *event; /* borrowed; NULL: not listening */
        int fd;
        gid_t group; /* of permitted callers */
        uint64_t idle_usec;
        sd_event_source *io, *turn;
        struct connection *list, *ready;
        size_t n;
        /* Runs a call. It has had its last reply when this returns, or will have it later. */
        void (*dispatch)(struct call *call, const char *method);
        void *context;
};

int server_listen(struct server *s, sd_event *event, const char *runtime,
                  void (*dispatch)(struct call *call, const char *method), void *context, struct failure *f);
/* Also allowed if it is all zeros. */
void server_done(struct server *s);

/* Takes over one end of a stream connection, as if it had been accepted. */
int server_adopt(struct server *s, int fd);
