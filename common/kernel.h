/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the running kernel's vhost-vsock can do. It says so only by doing: unpatched kernels answer EPERM to a
 * non-owner as patched ones do. So a scratch device is claimed and released. kernel/README.md has the
 * contract.
 */

#include "proto/base.h"

struct kernel {
        char release[65];
        bool reset_owner;       /* VHOST_RESET_OWNER: no handoff without it */
        bool reclaim;           /* …also by any holder, once the owner is dead */
        struct failure problem; /* why it could not be tried, or does not work; problem.error 0: none */
};

/* Tries it out on @device ("/dev/vhost-vsock"). Forks a child that dies as an owner, and waits for it: some
 * ms. */
void kernel_probe(const char *device, struct kernel *ret);
