/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A table that fits the terminal: where the line is too short, columns that may shrink are shortened first,
 * and then columns are left out, the least important first. In a pipe nothing is shortened.
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
        int drop; /* 0: never left out; else the greater, the earlier */
};

struct table {
        const struct column *columns; /* borrowed */
        size_t n_columns, n_rows;
        char **cells;         /* owned: row by row */
        enum colour *colours; /* owned: of each row; COLOUR_NONE: none */
};

/* As many as COLUMNS_MAX columns. */
void table_init(struct table *t, const struct column *columns, size_t n_columns);
void table_done(struct table *t);

/* Adds a row of as many texts as there are columns; they are copied. */
void table_add(struct table *t, enum colour c, const char *const *cells);

/* @width: characters in a line; 0: as many as it takes. */
void table_print(const struct table *t, FILE *out, size_t width);

/* How many characters a line of @out has; 0: it is no terminal. */
size_t terminal_width(FILE *out);
