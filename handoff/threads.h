/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the threads of a QEMU run as, one by one: CPUs, scheduling policy, priority, nice, I/O priority,
 * cgroup. A management layer pins vCPUs and iothreads one by one; a destination whose threads inherited
 * everything from its main thread would run, but elsewhere. Each of its threads gets what its counterpart in
 * the source has: main thread, vCPU by index, iothread by id, and all others what the source's first other
 * one has.
 */

#include "common/process.h"

#include <sched.h>

/* As sched_getattr(2) knows it: every policy, with its nice, priority or deadline. */
struct thread_schedule {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
};

struct thread {
        pid_t tid;
        char role[96]; /* "main", "vCPU 0", "iothread NAME", "other" */
        cpu_set_t cpus;
        struct thread_schedule schedule;
        int io_priority;
        char *cgroup; /* owned; below the cgroup file system's root: "/a/b" */
};

struct threads {
        struct thread *list; /* owned */
        size_t n;
};

void threads_done(struct threads *threads);

/* Reads all threads of @p. @cpus, @iothreads: its QMP answers to query-cpus-fast and query-iothreads;
 * borrowed. A thread id in them that is not the process's own is not believed. */
int threads_read(const struct process *p, json_object *cpus, json_object *iothreads, struct threads *ret,
                 struct failure *f);
/* Gives the threads of @destination what those of @source have. Stops at the first failure. The process
 * cannot have exchanged one thread for another meanwhile: it has not run its guest yet. */
int threads_apply(const struct threads *source, const struct threads *destination, struct failure *f);
