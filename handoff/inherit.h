/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The fds that the destination is born with, and what it gets of the source's just as it is. */

#include "handoff/handoff.h"
#include "handoff/launch.h"

struct inheritance {
        struct launch_fd fds[LAUNCH_FDS_MAX]; /* owned; numbers in any order */
        size_t n;
};

/* A duplicate of @fd becomes the destination's @number. */
int inherit_add(struct inheritance *in, int fd, int number, struct failure *f);
/* A duplicate of the source's @fd does; @what names it in a failure. */
int inherit_from_source(const struct handoff *h, struct inheritance *in, int fd, int number, const char *what,
                        struct failure *f);
/* In the order that launch.h wants. */
void inherit_sort(struct inheritance *in);
void inherit_done(struct inheritance *in);

/* Hooks of the table in resources.c. */
int inherit_standard(struct handoff *h, struct inheritance *in, struct failure *f);
int inherit_device(struct handoff *h, struct inheritance *in, struct failure *f);
int inherit_memory(struct handoff *h, struct inheritance *in, struct failure *f);
