/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Preflight: what confines the source but will not confine the destination, and what the source may do but
 * the destination may not. */
void check_seccomp(struct handoff *h, struct findings *fs, const char *id);
void check_landlock(struct handoff *h, struct findings *fs, const char *id);
void check_capabilities(struct handoff *h, struct findings *fs, const char *id);
