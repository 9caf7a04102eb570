/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The host's side of the tests: ordinary AF_VSOCK sockets and the pattern on them. Sockets of test cases do
 * not block, since the same thread plays the guest; those of the stress do, with a timeout.
 */

#include <linux/vm_sockets.h>
#include <sys/socket.h>

#include "../../proto/base.h"
#include "pattern.h"

/* One end of a connection in the host, and its progress. */
struct host_stream {
        int fd;
        bool seqpacket;
        uint32_t host_port;
        uint32_t guest_port;
        uint64_t sent; /* bytes */
        uint64_t sent_messages;
        uint64_t received;
        uint64_t received_messages;
};

/* @type SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK if wanted. Returns the fd. */
int host_socket(int type);
/* A plain connect() to a port of the guest: 0 or -errno. */
int host_connect(int fd, uint32_t cid, uint32_t port);
/* Makes a connect() give up after @usec µs. */
int host_connect_timeout(int fd, uint64_t usec);
/* Returns the listening fd; @port of the host. */
int host_listen(int type, uint32_t port);
/* The pending error of a socket, SO_ERROR: 0 or -errno. */
int host_error(int fd);
/* Fills @stream for a connected @fd, which stays the caller's. */
int host_stream_init(int fd, struct host_stream *ret_stream);

/* Sends up to @size bytes of the pattern, one send() (seqpacket: the next message, whatever @size). Returns
 * the bytes sent or -errno. */
ssize_t host_send(struct host_stream *stream, size_t size);
/* Receives what one recv() gives, up to @size bytes, and checks it: the bytes, 0 at the end, -EBADMSG if it
 * is not the pattern, or -errno. */
ssize_t host_receive(struct host_stream *stream, size_t size);
