/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"

#include <sys/ioctl.h>

#define GAP       2  /* spaces between columns */
#define LEAST_CUT 12 /* characters a shortened column keeps at least */

/* Widths of the columns; 0: left out. */
struct layout {
        size_t widths[COLUMNS_MAX];
};

void table_init(struct table *t, const struct column *columns, size_t n_columns)
{
        *t = (struct table){.columns = columns, .n_columns = n_columns};
}

void table_done(struct table *t)
{
        for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
                free(t->cells[i]);
        free(t->cells);
        free(t->colours);
        *t = (struct table){};
}

void table_add(struct table *t, enum colour c, const char *const *cells)
{
        char **more = reallocarray(t->cells, (t->n_rows + 1) * t->n_columns, sizeof(char *));
        enum colour *colours = reallocarray(t->colours, t->n_rows + 1, sizeof(enum colour));

        t->cells = more ?: t->cells;
        t->colours = colours ?: t->colours;
        if (!more || !colours)
                return;
        for (size_t i = 0; i < t->n_columns; i++)
                t->cells[t->n_rows * t->n_columns + i] = strdup(cells[i] ?: "-");
        t->colours[t->n_rows++] = c;
}

/* In characters, for UTF-8 text. */
static size_t text_width(const char *text)
{
        size_t n = 0;

        for (; text && *text; text++)
                n += ((unsigned char)*text & 0xc0) != 0x80;
        return n;
}

/* Where the character number @n begins. */
static const char *text_at(const char *text, size_t n)
{
        while (*text && (n > 0 || ((unsigned char)*text & 0xc0) == 0x80)) {
                n -= ((unsigned char)text[1] & 0xc0) != 0x80;
                text++;
        }
        return text;
}

static const char *cell(const struct table *t, size_t row, size_t column)
{
        return t->cells[row * t->n_columns + column] ?: "?";
}

static size_t line_width(const struct table *t, const struct layout *l)
{
        size_t sum = 0;

        for (size_t i = 0; i < t->n_columns; i++)
                if (l->widths[i] > 0)
                        sum += l->widths[i] + (sum ? GAP : 0);
        return sum;
}

static bool may_shrink(const struct column *c)
{
        return c->kind == CUT_START || c->kind == CUT_END;
}

/* Takes one character at a time from the widest column that may shrink, so that they end up alike. */
static void shrink(const struct table *t, struct layout *l, size_t width)
{
        while (line_width(t, l) > width) {
                size_t widest = t->n_columns;

                for (size_t i = 0; i < t->n_columns; i++)
                        if (may_shrink(&t->columns[i]) && l->widths[i] > LEAST_CUT &&
                            (widest == t->n_columns || l->widths[i] > l->widths[widest]))
                                widest = i;
                if (widest == t->n_columns)
                        return;
                l->widths[widest]--;
        }
}

static bool drop_one(const struct table *t, struct layout *l)
{
        size_t which = t->n_columns;

        for (size_t i = 0; i < t->n_columns; i++)
                if (l->widths[i] > 0 && t->columns[i].drop > 0 &&
                    (which == t->n_columns || t->columns[i].drop > t->columns[which].drop))
                        which = i;
        if (which == t->n_columns)
                return false;
        l->widths[which] = 0;
        return true;
}

static void lay_out(const struct table *t, size_t width, struct layout *l)
{
        *l = (struct layout){};
        for (size_t i = 0; i < t->n_columns; i++) {
                l->widths[i] = text_width(t->columns[i].title);
                for (size_t row = 0; row < t->n_rows; row++)
                        if (text_width(cell(t, row, i)) > l->widths[i])
                                l->widths[i] = text_width(cell(t, row, i));
        }
        if (width == 0)
                return;
        for (;;) {
                struct layout tried = *l;

                shrink(t, &tried, width);
                if (line_width(t, &tried) <= width || !drop_one(t, l)) {
                        *l = tried;
                        return;
                }
        }
}

/* One cell, shortened if it is too long, padded unless it is the last one of its line. */
static void print_cell(const struct column *c, const char *text, size_t width, bool last, FILE *out)
{
        size_t n = text_width(text);
        int pad = n < width ? (int)(width - n) : 0;

        if (c->kind == ALIGN_RIGHT)
                fprintf(out, "%*s", pad, "");
        if (n > width && c->kind == CUT_START)
                fprintf(out, "…%s", text_at(text, n - width + 1));
        else if (n > width)
                fprintf(out, "%.*s…", (int)(text_at(text, width - 1) - text), text);
        else
                fputs(text, out);
        if (c->kind != ALIGN_RIGHT && !last)
                fprintf(out, "%*s", pad, "");
}

static void print_line(const struct table *t, const struct layout *l, size_t row, FILE *out)
{
        bool head = row == t->n_rows;
        size_t last = 0;
        bool first = true;

        for (size_t i = 0; i < t->n_columns; i++)
                if (l->widths[i] > 0)
                        last = i;
        for (size_t i = 0; i <= last; i++) {
                if (l->widths[i] == 0)
                        continue;
                fprintf(out, "%*s", first ? 0 : GAP, "");
                print_cell(&t->columns[i], head ? t->columns[i].title : cell(t, row, i), l->widths[i],
                           i == last, out);
                first = false;
        }
}

void table_print(const struct table *t, FILE *out, size_t width)
{
        struct layout l;

        lay_out(t, width, &l);
        print_line(t, &l, t->n_rows, out);
        fputc('\n', out);
        for (size_t row = 0; row < t->n_rows; row++) {
                bool coloured = t->colours[row] != COLOUR_NONE;

                fputs(coloured ? colour(out, t->colours[row]) : "", out);
                print_line(t, &l, row, out);
                fprintf(out, "%s\n", coloured ? colour(out, COLOUR_NONE) : "");
        }
}

size_t terminal_width(FILE *out)
{
        struct winsize size = {};

        if (!isatty(fileno(out)))
                return 0;
        return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}
