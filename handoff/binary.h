/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Preflight: whether the destination's binary may be run, and can do what is needed. */
void check_binary_file(struct handoff *h, struct findings *fs, const char *id);
void check_binary_runs(struct handoff *h, struct findings *fs, const char *id);
