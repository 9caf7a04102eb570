/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * QEMU's sets of fds (-add-fd, QMP add-fd), which a path "/dev/fdset/N" in another option means. The
 * destination gets the same open files in the same sets, in the same order: of several, QEMU takes the first
 * whose access mode fits. What is in a set is what the source says now: QEMU closes the fd that -add-fd names
 * and keeps a duplicate, so the number on a command line may be something else by now.
 */

#include "handoff/inherit.h"

/* Adds an -add-fd to the destination's command line for each fd of the source's. */
int fdset_take(struct handoff *h, struct failure *f);
/* A hook of the table in resources.c. */
int fdset_inherit(struct handoff *h, struct inheritance *in, struct failure *f);
