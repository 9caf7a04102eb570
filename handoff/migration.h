/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The migration as its source sees it, and whether the source's guest runs.
 *
 * Whoever stopped the guest decides when it runs again. On the way back only a guest that our migration
 * stopped, which it does when the relay hangs up, is set running. One that somebody else stopped, or that
 * stopped itself, is left as it was found; so is a migration that is not ours.
 */

#include "handoff/handoff.h"

/* The stages' functions; stages.c says what each is for. */
int migration_begin(struct handoff *h, struct failure *f);
int migration_cancel(struct handoff *h, struct failure *f);
int migration_load(struct handoff *h, struct failure *f);
int migration_continue(struct handoff *h, struct failure *f);

/* Whether a status of query-migrate says that no migration is running. */
bool migration_is_over(const char *status);
