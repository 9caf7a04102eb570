/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A process, identified beyond doubt. A pid may belong to another process tomorrow; so this holds a pidfd,
 * checked by its start time to be the process that was meant. See pidfd_open(2), proc_pid_stat(5).
 */

#include "proto/base.h"

#include <sys/types.h>

struct process {
        pid_t pid;
        int pidfd;           /* owned */
        uint64_t start_time; /* in clock ticks since boot, field 22 of /proc/PID/stat */
        int proc_fd;         /* owned: /proc/PID, opened while the process was known to be alive */
};

#define PROCESS_NULL ((struct process){.pid = 0, .pidfd = -EBADF, .proc_fd = -EBADF})

/* Opens a process. @start_time 0: any. ESRCH: there is none, or the pid belongs to another one by now. */
int process_open(struct process *p, pid_t pid, uint64_t start_time, struct failure *f);
/* The same for an existing pidfd; takes it over on success. */
int process_adopt(struct process *p, int pidfd, struct failure *f);
void process_close(struct process *p);

/* Whether it has not exited yet (a zombie has exited). */
bool process_is_alive(const struct process *p);
/* Whether it exits within @msec: between a fatal signal and its exit, a process can be neither traced nor
 * queried. */
bool process_exits(const struct process *p, int msec);
#define PROCESS_DYING_MSEC 500

/* Reads /proc/PID/@file, at most @limit bytes. ESRCH: the process is gone. As file_read(). */
int process_read(const struct process *p, const char *file, size_t limit, char **ret, size_t *ret_size);
/* The target of the link /proc/PID/@file; the caller's to free. */
int process_readlink(const struct process *p, const char *file, char **ret);
/* A number from /proc/PID/status, for example "TracerPid"; -ENOENT: there is no such line. */
int process_status_number(const struct process *p, const char *key, int base, uint64_t *ret);
/* The signals pending for its main thread, one bit each: signal 1 is bit 0. */
int process_pending_signals(const struct process *p, uint64_t *ret);

/* Whether it is in our namespace of that name in /proc/PID/ns, such as "mnt". */
bool process_shares_namespace(const struct process *p, const char *name);

/* A duplicate of one of its fds (pidfd_getfd(2): needs PTRACE_MODE_ATTACH). Returns the new fd, owned by the
 * caller, close-on-exec. */
int process_get_fd(const struct process *p, int fd);

/* The start time of a pid that may be recycled: for callers that have no pidfd yet. */
int process_start_time(int proc_fd, uint64_t *ret);
