/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Points in time, as people write them. */

#include "proto/base.h"

/*
 * "90min", "2h", "3d", "1w" (that long ago), "today", "yesterday" (their beginning), "10:30" (today),
 * "2026-11-24", "2026-11-24 10:30", in local time, as µs of CLOCK_REALTIME. @now likewise. EINVAL: none of
 * these.
 */
int parse_when(const char *text, int64_t now, int64_t *ret);
