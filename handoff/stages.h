/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Runs the handoff from its first stage to one of its ends, and returns the record for the journal (the
 * caller's). Rolling back is walking the table backwards from where it stopped. */
json_object *stages_run(struct handoff *h);

/* The same for a handoff whose cprd-handoff died: from the journal and from what is really there to one of
 * its ends. */
json_object *stages_recover(struct handoff *h);
