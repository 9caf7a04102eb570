/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The handoff socket: /run/cprd/handoff, SOCK_SEQPACKET. This is where open vhost-vsock devices change hands
 * between cprd and a cprd-handoff. One message is one packet: the fixed-size struct below, all integers
 * little-endian, with at most one fd (SCM_RIGHTS). The peer is identified by SO_PEERCRED. Anything malformed
 * (size, magic, version, operation, an fd where none belongs or none where one belongs, a name without NUL)
 * ends the connection, and nothing else.
 *
 * cprd-handoff (role HELPER, name = the handoff's id)
 *
 *      -> HELLO                         who I am; value 1: I have my order and only lost the connection
 *      <- ORDER + journal               what to do: the first line of the journal. A journal that has more
 * lines is one to recover from
 *      <- PROCESS(source) + pidfd
 *      <- PROCESS(destination) + pidfd  only in a recovery
 *      <- DEVICE + fd                   only in a recovery: cprd had custody
 *      <- BEGIN                         that was everything
 *      -> DEVICE + fd, value = CID      custody: keep this whatever happens to me
 *      -> PROCESS(destination) + pidfd
 *      -> RECORD                        the journal has grown: read on
 *      <- ABORT                         somebody asked to cancel: roll back unless it is too late
 *      -> DONE                          the journal holds the outcome; close
 */

#include "proto/base.h"

#define HANDOFF_SOCKET   "/run/cprd/handoff"
#define HANDOFF_MAGIC    0x44525043U /* "CPRD" */
#define HANDOFF_VERSION  1
#define HANDOFF_NAME_MAX 64 /* with its NUL */

enum handoff_op {
        HANDOFF_HELLO = 1,
        HANDOFF_ORDER,
        HANDOFF_PROCESS,
        HANDOFF_DEVICE,
        HANDOFF_BEGIN,
        HANDOFF_RECORD,
        HANDOFF_ABORT,
        HANDOFF_DONE,
        _HANDOFF_OP_MAX,
};

enum handoff_role {
        HANDOFF_NOBODY = 0,
        HANDOFF_HELPER,      /* of a HELLO */
        HANDOFF_SOURCE,      /* of a PROCESS */
        HANDOFF_DESTINATION, /* of a PROCESS */
        _HANDOFF_ROLE_MAX,
};

struct handoff_message {
        uint32_t magic;
        uint16_t version;
        uint16_t op;   /* enum handoff_op */
        uint32_t role; /* enum handoff_role, 0 where the operation has none */
        uint64_t value;
        char name[HANDOFF_NAME_MAX]; /* NUL-terminated, zeros after it */
} __attribute__((packed));

#define HANDOFF_MESSAGE(operation, ...) ((struct handoff_message){.op = (operation), __VA_ARGS__})

/* The operation's name for logs; "?" if unknown. */
const char *handoff_op_name(unsigned op);

/* Sends one message in host byte order (magic and version are filled in here). @pass_fd stays the caller's;
 * -EBADF: none. Never raises SIGPIPE. Returns 0 or a negative errno (EAGAIN on a non-blocking socket). */
int handoff_send(int socket, const struct handoff_message *m, int pass_fd);

/* Receives one message. *ret_fd is the caller's to close, -EBADF if none came. Returns 1; 0: the peer has
 * closed; EBADMSG: malformed, with the reason in @f (any fd that came is closed); EAGAIN. */
int handoff_receive(int socket, struct handoff_message *ret_m, int *ret_fd, struct failure *f);
