/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Preflight: whether systemd, or whoever started the source, would end the source's unit, and everything in
 * its cgroup, together with the source. */
void check_unit(struct handoff *h, struct findings *fs, const char *id);
