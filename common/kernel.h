/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the running kernel's vhost-vsock can do. The only way to find out is to try: unpatched kernels answer
 * EPERM to a non-owner just as patched ones do. So a scratch device is claimed and released. The contract is
 * in kernel/README.md.
 */

#include "proto/base.h"

struct kernel {
        char release[65];
        bool reset_owner;       /* VHOST_RESET_OWNER: no handoff without it */
        bool reclaim;           /* …by any holder too, once the owner is dead */
        struct failure problem; /* why it could not be tried or does not work; problem.error 0: none */
};

/* Tries it on @device ("/dev/vhost-vsock"). Forks a child that dies as the owner, and waits for it: a few
 * ms. */
void kernel_probe(const char *device, struct kernel *ret);
