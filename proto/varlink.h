/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The Varlink wire protocol (https://varlink.org/Wire-Format): JSON objects, each ended by a NUL byte, over a
 * stream socket; fds travel beside the bytes (SCM_RIGHTS). This is the codec of both sides, it knows nothing
 * of any method. What arrives is taken as hostile: a message has a greatest size and a greatest depth, must
 * be one JSON object in valid UTF-8 without a NUL inside, and few fds may wait to be taken.
 */

#include "proto/base.h"

#define VARLINK_MESSAGE_MAX (1U << 20) /* bytes of one message that is received */
#define VARLINK_QUEUE_MAX   (8U << 20) /* bytes that may wait for a peer that does not read */
#define VARLINK_DEPTH_MAX   16
#define VARLINK_FDS_MAX     4 /* fds that came and were not taken yet, and fds sent with one message */

struct varlink;

/* Takes @fd over (also when it fails: ENOMEM). It may be blocking or not: see varlink_fill(). */
int varlink_new(int fd, struct varlink **ret);
struct varlink *varlink_free(struct varlink *v);
static inline void varlink_freep(struct varlink **v)
{
        *v = varlink_free(*v);
}

/* The socket, borrowed: for poll(2). */
int varlink_fd(const struct varlink *v);

/* Reads once from the socket. Returns 1: something came; 0: the peer has closed; EAGAIN: nothing there;
 * EBADMSG: too long or too many fds. */
int varlink_fill(struct varlink *v, struct failure *f);

/* The next whole message among what was read; the caller's to put. Returns 1; 0: not there yet; EBADMSG. */
int varlink_next(struct varlink *v, json_object **ret, struct failure *f);

/* The oldest fd that came and was not taken; the caller's to close. -ENOENT: none. */
int varlink_take_fd(struct varlink *v);

/* Queues one message; @message stays the caller's. @fd is duplicated, -EBADF: none. ENOBUFS: the peer reads
 * too slowly. Nothing is sent yet. */
int varlink_queue(struct varlink *v, json_object *message, int fd);

/* Sends what is queued. Returns 0: all sent; 1: some is left, wait until the socket is writable. */
int varlink_flush(struct varlink *v);

/* {"method", "parameters", "more"?, "oneway"?}; takes the reference of @parameters (NULL: none). */
json_object *varlink_call(const char *method, json_object *parameters, bool more);
/* {"parameters", "continues"?}; takes the reference. */
json_object *varlink_reply(json_object *parameters, bool continues);
/* {"error", "parameters"}; takes the reference. */
json_object *varlink_error(const char *error, json_object *parameters);
