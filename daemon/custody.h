/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What cprd keeps for one handoff so that it outlives both QEMUs and the cprd-handoff: duplicates of the
 * device, and pidfds. They are also put into systemd's fd store (sd_pid_notify_with_fds(3)) and come back
 * from it after a restart of cprd, identified by their names: KIND-ID-VALUE. All are dropped when the handoff
 * has ended: a device held any longer would keep a dead VM's connections hanging and its CID taken.
 */

#include "proto/base.h"

#define CUSTODY_MAX 8

enum custody_kind {
        CUSTODY_SOURCE,      /* a pidfd */
        CUSTODY_DESTINATION, /* a pidfd */
        CUSTODY_DEVICE,      /* value: its CID */
        _CUSTODY_KIND_MAX,
};

struct custody {
        char id[16]; /* of the handoff */
        struct kept {
                enum custody_kind kind;
                uint64_t value;
                int fd;
        } kept[CUSTODY_MAX];
        size_t n;
};

void custody_init(struct custody *c, const char *id);
/* Closes this process's duplicates but leaves those in the fd store: either cprd is being stopped, or
 * custody_drop() has already removed them. */
void custody_done(struct custody *c);

/* Keeps @fd (taken over, even on failure), replacing one of the same kind and value. */
int custody_keep(struct custody *c, enum custody_kind kind, uint64_t value, int fd, struct failure *f);
/* The first of a kind, borrowed; -EBADF: none. */
int custody_get(const struct custody *c, enum custody_kind kind);
/* Lets go of everything, also in the fd store. */
void custody_drop(struct custody *c);

/* Takes over an fd that came back from the fd store, if its name says that it belongs to this handoff.
 * Returns 1: taken over; 0: it belongs to another one. */
int custody_take_back(struct custody *c, const char *name, int fd);
/* Closes, and removes from the fd store, an fd that no handoff has taken back. */
void custody_forget(const char *name, int fd);
