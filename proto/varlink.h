/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The Varlink wire protocol (https://varlink.org/Wire-Format): JSON objects, each ended by a NUL byte, over a
 * stream socket. This is the codec for both sides; it knows nothing of any method. Input is treated as
 * hostile: a message is limited in size and depth, and must be one JSON object in valid UTF-8 without a NUL
 * inside. Descriptors sent along are not received.
 */

#include "proto/base.h"

#define VARLINK_MESSAGE_MAX (1U << 20) /* bytes of one received message */
#define VARLINK_QUEUE_MAX   (2U << 20) /* bytes that may be queued for a peer that does not read */
#define VARLINK_DEPTH_MAX   16

struct varlink;

/* Takes @fd over. It may be blocking or not: see varlink_fill(). */
int varlink_new(int fd, struct varlink **ret);
/* The greatest size of a received message, if not VARLINK_MESSAGE_MAX. */
void varlink_limit(struct varlink *v, size_t limit);
struct varlink *varlink_free(struct varlink *v);
static inline void varlink_freep(struct varlink **v)
{
        *v = varlink_free(*v);
}

/* The socket, borrowed: for poll(2). */
int varlink_fd(const struct varlink *v);

/* Reads once from the socket. Returns 1: something came; 0: the peer has closed; EAGAIN: nothing to read. */
int varlink_fill(struct varlink *v);

/* The next whole message in what was read; the caller's to put. Returns 1; 0: none yet; EBADMSG. */
int varlink_next(struct varlink *v, json_object **ret, struct failure *f);

/* Queues one message; @message stays the caller's. ENOBUFS: the peer reads too slowly. Nothing is sent yet.
 */
int varlink_queue(struct varlink *v, json_object *message);

/* Sends what is queued. Returns 0: all sent; 1: some is left, wait until the socket is writable. */
int varlink_flush(struct varlink *v);

/* {"method", "parameters", "more"?, "oneway"?}; takes the reference of @parameters (NULL: none). */
json_object *varlink_call(const char *method, json_object *parameters, bool more);
/* {"parameters", "continues"?}; takes the reference. */
json_object *varlink_reply(json_object *parameters, bool continues);
/* {"error", "parameters"}; takes the reference. */
json_object *varlink_error(const char *error, json_object *parameters);
