/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* How values look to people. Functions that produce text write it to a buffer of the caller's and return
 * that. */

#include "proto/base.h"

#define TEXT_MAX 128

/* "0.4 ms", "38 ms", "1.2 s": two significant digits, or whole milliseconds. */
const char *format_duration(int64_t usec, char text[static TEXT_MAX]);

/* "500ms", "2s", "1.5s", "800us" as µs. EINVAL: no number, no unit, or not above 0. */
int parse_duration(const char *text, int64_t *ret_usec);

/* "4 passed, 1 warning: cpu-model", "2 blockers: …": a summary of the findings. */
const char *format_findings(json_object *findings, char *text, size_t size);

/* A QEMU in a reply: its version, or its binary if the version is not known. */
const char *format_qemu(json_object *qemu);

/* An outcome as people write it: still_on_source -> still-on-source. */
const char *format_outcome(const char *outcome);

/* A local point in time, "2026-11-22 18:04:05"; usec by CLOCK_REALTIME. */
const char *format_time(int64_t usec, char text[static TEXT_MAX]);

/* Escape sequences, or "" where colours are not wanted: NO_COLOR, a dumb terminal, a pipe. */
enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_WARN, COLOUR_BAD, COLOUR_DIM, COLOUR_BOLD };
const char *colour(FILE *f, enum colour c);
