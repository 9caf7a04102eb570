/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* The stage `check`: every preflight check, none of which the guest could notice. Fails if one found a
 * blocker. */
int check_all(struct handoff *h, struct failure *f);

/* Prints the ids of all checks, one per line, for the test of docs/checks.md. */
void check_print(void);
