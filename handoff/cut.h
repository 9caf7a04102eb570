/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Preflight: what a handoff cuts, by name: clients of the VM's sockets, and the flows of user networking. A
 * warning: their clients have to connect again. */
void check_cut(struct handoff *h, struct findings *fs, const char *id);
