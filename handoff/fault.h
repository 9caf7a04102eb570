/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Fault points, for tests. In a build with -Dfault_injection=true a handoff can be told to break: the order's
 * `faults` are words "POINT=ACTION", where POINT is "STAGE:before", "STAGE:after", "undo-STAGE:before" or
 * "undo-STAGE:after", and ACTION one of fault.c's table; or a switch: "no-match" (neither is the destination
 * brought up to date, nor compared), "no-check=ID" (a blocker of that check does not end the handoff),
 * "no-memory-fd" (guest memory that has no name is looked for by its name all the same), "no-discard-off"
 * (discard-data is treated like any other option). Other builds have nothing of it.
 */

#include "handoff/handoff.h"

#if FAULT_INJECTION
/* Does what is ordered for this point, once. The step then fails with the negative errno returned. */
int fault_point(struct handoff *h, bool undo, const char *stage, const char *when, struct failure *f);
/* Whether a switch is on. */
bool fault_is_set(const struct handoff *h, const char *name);
#else
static inline int fault_point(struct handoff *h, bool undo, const char *stage, const char *when,
                              struct failure *f)
{
        return 0;
}

static inline bool fault_is_set(const struct handoff *h, const char *name)
{
        return false;
}
#endif
