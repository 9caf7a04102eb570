/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The destination: how it is launched, built, set running, and ended. */

#include "handoff/handoff.h"

/* The stages' functions; stages.c says what each is for. */
int destination_launch(struct handoff *h, struct failure *f);
int destination_kill(struct handoff *h, struct failure *f);
int destination_build(struct handoff *h, struct failure *f);
int destination_commit(struct handoff *h, struct failure *f);

/* Removes the files made for it that have no more use. */
void destination_clean_up(struct handoff *h);
/* Undoes what it had for the handoff only: gives it the source's stderr, unlocks its heap. */
void destination_settle(struct handoff *h);
