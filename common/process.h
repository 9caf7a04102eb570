/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A process, known for certain. A pid is a number that somebody else may have tomorrow; what is held here is
 * a pidfd, together with what made sure that it is the process that was meant: its start time. See
 * pidfd_open(2), proc_pid_stat(5).
 */

#include "proto/base.h"

#include <sys/types.h>

struct process {
        pid_t pid;
        int pidfd;           /* owned */
        uint64_t start_time; /* in clock ticks since boot, field 22 of /proc/PID/stat */
        int proc_fd;         /* owned: /proc/PID, opened while the pidfd was known to be alive */
};

#define PROCESS_NULL ((struct process){.pid = 0, .pidfd = -EBADF, .proc_fd = -EBADF})

/* Opens a process. @start_time 0: whatever it is. ESRCH: there is none, or it is another one by now. */
int process_open(struct process *p, pid_t pid, uint64_t start_time, struct failure *f);
/* The same for a pidfd that is there already; takes it over on success. */
int process_adopt(struct process *p, int pidfd, struct failure *f);
void process_close(struct process *p);

/* Whether it has not exited yet (a zombie has). */
bool process_is_alive(const struct process *p);
/* Whether it exits within @msec: between the signal that kills a process and its end it can neither be traced
 * nor asked. */
bool process_exits(const struct process *p, int msec);
#define PROCESS_DYING_MSEC 500

/* Reads /proc/PID/@file, at most @limit bytes. ESRCH when the process has gone meanwhile. As file_read(). */
int process_read(const struct process *p, const char *file, size_t limit, char **ret, size_t *ret_size);
/* The target of the link /proc/PID/@file; the caller's to free. */
int process_readlink(const struct process *p, const char *file, char **ret);
/* A number in /proc/PID/status, for example "TracerPid"; -ENOENT: there is no such line. */
int process_status_number(const struct process *p, const char *key, int base, uint64_t *ret);
/* The signals that wait for its main thread, a bit each: signal 1 is bit 0. */
int process_pending_signals(const struct process *p, uint64_t *ret);

/* Whether it is in our namespace of that name, as in /proc/PID/ns: "mnt". */
bool process_shares_namespace(const struct process *p, const char *name);

/* A duplicate of one of its fds (pidfd_getfd(2): needs PTRACE_MODE_ATTACH). Returns the new fd, owned by the
 * caller, close-on-exec. */
int process_get_fd(const struct process *p, int fd);

/* Start time of a pid that may be recycled: for whoever has no pidfd yet. */
int process_start_time(int proc_fd, uint64_t *ret);
