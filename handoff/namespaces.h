/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The namespaces of a process that its twin enters. They are opened when the twin is prepared, and not looked
 * up again when it enters them: whoever has come into a user namespace of its own meanwhile has made mounts
 * there as it likes.
 */

#include "common/process.h"

#define N_NAMESPACES 5

struct namespaces {
        int fds[N_NAMESPACES]; /* -EBADF: the process shares ours */
};

#define NAMESPACES_NULL ((struct namespaces){{-EBADF, -EBADF, -EBADF, -EBADF, -EBADF}})

int namespaces_open(const struct process *p, struct namespaces *ret);
/* Allocates nothing, so that a child may call it. */
int namespaces_enter(const struct namespaces *n);
void namespaces_close(struct namespaces *n);
