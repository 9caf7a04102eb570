/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The migration, as its source sees it, and whether the source's guest runs.
 *
 * Whose stop it was decides who starts the guest again. On the way back only a guest that our migration has
 * stopped, which it does when the relay hangs up, is set running. One that somebody else has stopped, or that
 * has stopped itself, is left as it was found; so is a migration that is not ours.
 */

#include "handoff/handoff.h"

/* The stages' functions; stages.c says what each is for. */
int migration_begin(struct handoff *h, struct failure *f);
int migration_cancel(struct handoff *h, struct failure *f);
int migration_load(struct handoff *h, struct failure *f);
int migration_continue(struct handoff *h, struct failure *f);

/* Whether a status of query-migrate says that nothing is under way. */
bool migration_is_over(const char *status);
