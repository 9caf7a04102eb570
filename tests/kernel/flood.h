/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What anybody with a socket can make the host queue for a guest that is stopped, as often as he likes. */

#include "test.h"

enum flood_kind {
        FLOOD_CREDIT,   /* a new SO_VM_SOCKETS_BUFFER_SIZE: CREDIT_UPDATE */
        FLOOD_SHUTDOWN, /* shutdown(SHUT_RD), which the socket accepts again and again: SHUTDOWN */
        FLOOD_CONNECT,  /* connect() and close() of a new socket: REQUEST */
        FLOOD_KINDS
};

/* Bytes that the kernel may have more in use after any number of calls. */
#define FLOOD_BOUND (16L << 20)

/* @calls calls on @fd, a connected socket (FLOOD_CONNECT: to the guest @cid). The last FLOOD_CREDIT sets
 * flood_credit(@calls). Returns the bytes that the machine has less than before, or a negative errno. */
long flood(enum flood_kind kind, int fd, uint32_t cid, long calls);
uint64_t flood_credit(long calls);
