/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The destination under ptrace, from its first instruction to its commit. */

#include "handoff/handoff.h"

/* For wait.c: it has stopped. Does what its system call needs, and lets it continue. */
int trace_on_stop(struct handoff *h, struct failure *f);
/* Whether all of its devices exist: from then on it is traced only enough to die with us. */
bool trace_is_built(const struct handoff *h);
/* Stops it. ESRCH, with why in @f: it is dead. */
int trace_stop(struct handoff *h, struct failure *f);
