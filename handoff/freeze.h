/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The source's main thread, under ptrace. It runs system calls for us, and from the release of the device on
 * it is kept stopped, so that nobody can continue the source's guest beside the destination's.
 */

#include "handoff/handoff.h"

/* Runs system calls in it. It is traced only while they run, unless it is frozen. */
int freeze_inject(struct handoff *h, struct injection *calls, size_t n, struct failure *f);
/* Keeps it stopped until freeze_thaw(), or until this process ends. */
int freeze_begin(struct handoff *h, struct failure *f);
void freeze_thaw(struct handoff *h);
/* Whether the frozen source dies if this process does. */
void freeze_doom(struct handoff *h, bool doomed);
/* For wait.c: lets it go if it has stopped after nobody waited for that any more. */
void freeze_poll(struct handoff *h);
