/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Preflight: whether systemd, or whoever started the source, would end its unit, and all that is in its
 * cgroup, with the source. */
void check_unit(struct handoff *h, struct findings *fs, const char *id);
