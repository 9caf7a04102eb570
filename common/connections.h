/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The host's own list of AF_VSOCK connections (sock_diag(7), linux/vm_sockets_diag.h; `ss --vsock` shows the
 * same).
 */

#include "proto/base.h"

struct connections {
        json_object *established; /* owned: array of "local-port remote-port type ino" strings, sorted */
        size_t n;
};

enum { CONNECTIONS_ESTABLISHED = 1, CONNECTIONS_CLOSING = 2 };

/* Lists this host's sockets in these states whose peer has CID @cid. A socket that its program has closed is
 * CLOSING until the guest answers, which a paused guest does not; one that was reset is not listed. ENOTSUP:
 * the kernel has no vsock_diag. */
int connections_list(uint32_t cid, unsigned states, struct connections *ret);
void connections_done(struct connections *c);

/* How many there are with CID @cid; -1: the kernel does not tell, or it is not a CID. */
int64_t connections_count(int64_t cid);

/* How many of @before are missing from @after. */
size_t connections_lost(const struct connections *before, const struct connections *after);
