/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The sandbox that cprd-handoff puts itself into once the destination executes.
 *
 * Until then it may do everything: it becomes another user, enters namespaces and a cgroup, and executes a QEMU,
 * which would inherit a seccomp filter. What comes afterwards reads what two hostile processes say, and needs
 * little of that: no program is executed, no process forked, no file created, no namespace entered, no socket of
 * the internet opened. A recovery launches nothing, so it is in the sandbox from its beginning.
 */

#include "proto/base.h"

/* Gives up capabilities and system calls, for good. EPERM, EINVAL: the kernel has no such filter; nothing of
 * the filter is in force then. */
int sandbox_enter(struct failure *f);
