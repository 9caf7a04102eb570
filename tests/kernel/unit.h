/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The unit tests: one case per promise of the contract, each in a process and with a CID of its own. */

#include "test.h"

struct unit_case {
        const char *name;
        int point;                /* of the contract in kernel/README.md */
        int (*run)(uint32_t cid); /* 0: passed */
};

/* Each list ends with a case without a name. */
extern const struct unit_case unit_ownership[];
extern const struct unit_case unit_orphan[];
extern const struct unit_case unit_traffic[];
extern const struct unit_case unit_restart[];
extern const struct unit_case unit_queue[];

/* A socket connected to @port of the guest, which is pumped meanwhile. Returns 0 and a non-blocking socket.
 */
int unit_connect(struct vmm *vmm, int type, uint32_t port, int *ret_fd, struct host_stream *ret_stream);
/* Sends @amount bytes (seqpacket: messages) to VMM_PORT_ECHO, and checks that all that was ever sent comes
 * back. */
int unit_echo(struct vmm *vmm, struct host_stream *stream, uint64_t amount);
/* Runs @run in a child with the same fds and returns its exit code, or -1 if it was killed. */
int unit_in_child(int (*run)(struct vmm *vmm), struct vmm *vmm);
