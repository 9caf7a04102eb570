/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The connection to cprd. cprd may go away and come back while a handoff runs: what it was told meanwhile is
 * lost on the way, but it is in the journal, which cprd reads when it is back.
 */

#include "proto/handoff.h"

struct handoff;

struct link {
        int fd;         /* owned: the handoff socket; -EBADF while cprd is away */
        uint64_t retry; /* now_usec() of the next try to connect again */
};

#define LINK_NULL ((struct link){.fd = -EBADF})

/* Connects, says hello, and takes the order and whatever cprd has in custody for it. */
int link_connect(struct handoff *h, struct failure *f);
/* Tells cprd one thing. Lost if cprd is away. @pass_fd stays the caller's; -EBADF: none. */
void link_tell(struct handoff *h, int op, int role, uint64_t value, int pass_fd);
/* Takes in what cprd has said, and connects again if it was away. Never blocks. */
void link_read(struct handoff *h);
/* Says goodbye. A cprd that is just coming back would otherwise wait for this process; one that stays away
 * reads the journal. */
void link_finish(struct handoff *h);
