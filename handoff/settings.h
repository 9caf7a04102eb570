/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Settings of the source that decide what a migration does: its capabilities, its parameters, and whether its
 * memory backends discard their memory when it ends. They are its operator's; a handoff needs its own, and
 * leaves a source that goes on with what it had.
 */

#include "handoff/handoff.h"

/* Sets what a handoff needs. What was there before is a fact (`settings`) first. */
int settings_prepare(struct handoff *h, struct failure *f);
/* Puts it back. Nothing to do if settings_prepare() did not come that far. */
int settings_restore(struct handoff *h, struct failure *f);
