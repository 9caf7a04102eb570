/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The connection to cprd. cprd may go away and come back while a handoff runs. What it was told meanwhile is
 * lost, but it is in the journal, which cprd reads when it is back. Descriptors are not, so those are sent
 * again.
 */

#include "proto/handoff.h"

#define LINK_TOLD_MAX 2 /* the device, and the destination's pidfd */

struct link {
        int fd;         /* owned: the handoff socket; -EBADF while cprd is away */
        uint64_t retry; /* now_usec() of the next attempt to reconnect */
        char id[64];
        bool aborted; /* cprd has asked for a rollback */
        struct told {
                int op, role, fd; /* fd: owned */
                uint64_t value;
        } told[LINK_TOLD_MAX];
        size_t n_told;
};

#define LINK_NULL ((struct link){.fd = -EBADF})

/* Takes one of cprd's messages before BEGIN, and its fd (-EBADF: none). */
typedef int (*link_take_t)(void *userdata, const struct handoff_message *m, int fd, struct failure *f);

/* Connects, says hello for the handoff @id, and has @take take what cprd sends up to BEGIN. */
int link_connect(struct link *l, const char *id, link_take_t take, void *userdata, struct failure *f);
void link_close(struct link *l);

/* Tells cprd one thing. @pass_fd stays the caller's; -EBADF: none. */
void link_tell(struct link *l, int op, int role, uint64_t value, int pass_fd);
/* Does not tell again what was told with a descriptor. */
void link_forget(struct link *l, int op);
/* Reads what cprd has said, and reconnects if it was away. Never blocks. */
void link_read(struct link *l);
/* Says goodbye. A cprd that is just coming back would otherwise wait for this process; one that stays away
 * reads the journal. */
void link_finish(struct link *l);
