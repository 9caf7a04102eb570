/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Settings of the source that decide what a migration does: its capabilities, its parameters, and whether its
 * memory backends discard their memory when it ends. They belong to its operator; a handoff needs its own,
 * and restores the old ones in a source that carries on.
 */

#include "handoff/handoff.h"

/* Sets what a handoff needs. The old values become a fact (`settings`) first. */
int settings_prepare(struct handoff *h, struct failure *f);
/* Restores the old values. Nothing to do if settings_prepare() did not get that far. */
int settings_restore(struct handoff *h, struct failure *f);
/* Gives the destination, which has the guest by now, what it was started without: discard-data. That it fails
 * costs log lines. */
void settings_hand_on(struct handoff *h);
