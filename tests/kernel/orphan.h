/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Owners that die in every way a process can, leaving a running device to whoever holds the fd. */

#include "test.h"

enum orphan_way {
        ORPHAN_EXIT,
        ORPHAN_KILLED,
        ORPHAN_ZOMBIE, /* dead, but nobody has waited for it */
        ORPHAN_EXEC,   /* keeps living, with another memory map */
        ORPHAN_WAYS,
};

extern const char *const orphan_way_names[ORPHAN_WAYS];

/*
 * A child takes @vmm's device, plays the guest for @usec µs and dies in the given @way, with the device
 * running. Returns when it is dead; *ret_pid is the process to orphan_reap() afterwards. @mapped_fd: a file
 * of at least a page that the owner maps, to be seen pinned; or -EBADF. The caller must not own the device.
 */
int orphan_make(struct vmm *vmm, enum orphan_way way, uint64_t usec, int mapped_fd, pid_t *ret_pid);
void orphan_reap(pid_t pid);
