/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A table that fits the terminal. If lines would be too long, columns that may shrink are shortened first;
 * then columns are left out, the least important first. In a pipe nothing is shortened.
 */

#include "cli/format.h"

#define COLUMNS_MAX 12

struct column {
        const char *title;
        enum {
                ALIGN_LEFT,
                ALIGN_RIGHT,
                CUT_START,
                CUT_END
        } kind;   /* CUT_…: may shrink, losing its start or its end */
        int drop; /* 0: never left out; otherwise the highest goes first */
};

struct table {
        const struct column *columns; /* borrowed */
        size_t n_columns, n_rows;
        char **cells;         /* owned, row by row */
        enum colour *colours; /* owned, one per row */
};

/* At most COLUMNS_MAX columns. */
void table_init(struct table *t, const struct column *columns, size_t n_columns);
void table_done(struct table *t);

/* Adds a row, one text per column; the texts are copied. */
void table_add(struct table *t, enum colour c, const char *const *cells);

/* @width: characters per line; 0: unlimited. */
void table_print(const struct table *t, FILE *out, size_t width);

/* Characters per line of @out; 0: not a terminal. */
size_t terminal_width(FILE *out);
