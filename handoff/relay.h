/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The relay of the CPR channel. The source sends its CPR state (the fds of its RAM blocks) over that channel,
 * closes its direction, and then waits without a time limit, its guest running, until the other side hangs up
 * (migrate_hup_add() in QEMU's migration/migration.c); only then does it connect the main channel and stop
 * the guest. So the channel goes through this process, which passes the state on to the destination at once
 * and hangs up when everything is ready for the pause.
 */

#include "proto/base.h"

#include <poll.h>

#define RELAY_STATE_MAX (1U << 20) /* QEMU sends some 150 bytes and a few more for each RAM block */
#define RELAY_FDS_MAX   64         /* one per RAM block */

struct relay {
        struct relay_ends {
                pid_t source, destination; /* we talk to nobody else */
                uid_t uid;                 /* the VM's user, who may connect */
                gid_t gid;
                char *cpr_path; /* owned: the destination's CPR channel */
        } ends;
        char *path;      /* owned: where the source connects; root owns the directory */
        int listener;    /* owned, like all three */
        int source;      /* the source's connection */
        int destination; /* ours to the destination's CPR channel */
        char *state;     /* owned: what the source has sent */
        size_t size, sent;
        int fds[RELAY_FDS_MAX]; /* owned: sent with it, until they are passed on */
        size_t fd_at[RELAY_FDS_MAX];
        size_t n_fds, fds_sent;
        bool complete; /* the source has sent all of it */
        bool hung_up;
        struct failure failure; /* why it cannot go on; failure.error 0: it can */
};

enum { RELAY_N_POLL = 3 };

/* @directory: the handoff's own, which root owns. */
void relay_init(struct relay *r, const char *directory);
/* Hangs up, closes and removes everything. */
void relay_done(struct relay *r);

/* Listens for the source. Takes @ends over. */
int relay_listen(struct relay *r, const struct relay_ends *ends, struct failure *f);
/* Moves what can be moved. Never blocks. Failures are kept in r->failure. */
void relay_move(struct relay *r);
/* Whether the destination has all of the CPR state. */
bool relay_has_passed(const struct relay *r);
/* Closes the source's side: from here on it stops the guest by itself. */
void relay_hang_up(struct relay *r);
/* What to wait for. */
void relay_poll(const struct relay *r, struct pollfd fds[static RELAY_N_POLL]);
