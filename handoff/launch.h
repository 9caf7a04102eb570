/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A process that is another's twin: same credentials, capabilities, limits, cgroup, namespaces, LSM label,
 * scheduling, working directory, environment; never more. One exception: when memory runs out, it is the one
 * to die.
 */

#include "common/process.h"

#include <sys/types.h>

#define LAUNCH_FDS_MAX 160

struct launch_fd {
        int fd;     /* ours */
        int number; /* its */
};

struct launch {
        const struct process *twin;
        const char *credentials; /* its own, as they were checked: credentials.h */
        const char *binary;      /* in the twin's mount namespace */
        char *const *argv;
        const struct launch_fd *fds; /* all fds it gets; numbers ascending */
        size_t n_fds;
        /* Called in the child just before exec: listen(2), for example, records the caller's pid. */
        void (*in_child)(void *userdata);
        void *userdata;
};

struct launched {
        struct process process;
        int go;            /* if we close it, the child exits without executing */
        int report;        /* its message if it cannot execute */
        int oom_score_adj; /* the twin's; its own is the highest, so that it dies rather than the twin */
};

#define LAUNCHED_NULL ((struct launched){.process = PROCESS_NULL, .go = -EBADF, .report = -EBADF})

/* Forks a child that is in the twin's cgroup and waits for launch_go() with its setup. */
int launch_prepare(const struct launch *l, struct launched *ret, struct failure *f);
/* Lets it become the twin and execute. */
void launch_go(struct launched *child);
/* After it has executed or exited: why it could not execute. Returns 0: it did; else a negative errno. */
int launch_report(struct launched *child, struct failure *f);
void launch_done(struct launched *child);
