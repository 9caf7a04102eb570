/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the preflight checks found: the list of Finding objects of io.cprd.varlink. The id of a check is its
 * name in the table of check.c and in docs/checks.md.
 */

#include "proto/base.h"

#define FINDINGS_MAX 128 /* are listed, and one that says that there were more */

struct findings {
        json_object *list; /* owned: array of Finding; NULL: none */
        size_t n_blockers, n_warnings, n_passed;
};

void findings_done(struct findings *fs);

void finding_pass(struct findings *fs, const char *id, const char *what, ...) _printf_(3, 4);
void finding_warn(struct findings *fs, const char *id, const char *remedy, const char *what, ...)
        _printf_(4, 5);
/* @remedy may not be NULL: whoever refuses says what to do. */
void finding_block(struct findings *fs, const char *id, const char *remedy, const char *what, ...)
        _printf_(4, 5);
/* The same out of a failure. */
void finding_block_failure(struct findings *fs, const char *id, const struct failure *f);
