/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the preflight checks found: a list of Finding objects (io.cprd.varlink). The id is the check's name in
 * the table of check.c and in docs/checks.md.
 */

#include "proto/base.h"

#define FINDINGS_MAX 128 /* listed; one more says that there were others */

struct findings {
        json_object *list; /* owned: array of Finding; NULL: none */
        size_t n_blockers, n_warnings, n_passed;
};

void findings_done(struct findings *fs);

void finding_pass(struct findings *fs, const char *id, const char *what, ...) _printf_(3, 4);
void finding_warn(struct findings *fs, const char *id, const char *remedy, const char *what, ...)
        _printf_(4, 5);
/* @remedy must not be NULL: a refusal says what to do about it. */
void finding_block(struct findings *fs, const char *id, const char *remedy, const char *what, ...)
        _printf_(4, 5);
/* The same, from a failure. */
void finding_block_failure(struct findings *fs, const char *id, const struct failure *f);
