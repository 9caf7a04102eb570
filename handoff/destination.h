/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* The stages' functions; stages.c says what each is for. */
int destination_launch(struct handoff *h, struct failure *f);
int destination_kill(struct handoff *h, struct failure *f);
int destination_build(struct handoff *h, struct failure *f);
int destination_commit(struct handoff *h, struct failure *f);

/* For wait.c: the traced destination has stopped. Withholds what is to be withheld, and lets it go on. */
int destination_on_stop(struct handoff *h, struct failure *f);
/* Stops the traced destination. ESRCH, with why in @f: it is dead. */
int destination_stop(struct handoff *h, struct failure *f);
/* Why it is dead: its exit status and the last words of its log. Returns -ESRCH. */
int destination_obituary(struct handoff *h, struct failure *f);

/* A destination that refuses the state knows why, and says so when it exits, which it does in a moment: fills
 * @f with that if it comes within @msec, or leaves it alone. */
void destination_last_words(struct handoff *h, int msec, struct failure *f);

/* Raises or lowers the shield of a stopped destination. */
int destination_set_shield(struct handoff *h, bool up, struct failure *f);

/* Removes the files that were made for it and have no use any more. */
void destination_clean_up(struct handoff *h);
/* Takes back what it had for the handoff only: gives it the source's stderr, unlocks its heap. */
void destination_settle(struct handoff *h);
