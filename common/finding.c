/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/finding.h"

#include <stdarg.h>

void findings_done(struct findings *fs)
{
        json_object_put(fs->list);
        *fs = (struct findings){};
}

/* A command line of a megabyte must not make a record of a megabyte: the first findings say enough. */
static void add(struct findings *fs, const char *id, const char *severity, const char *remedy,
                const char *what)
{
        size_t n = fs->list ? json_object_array_length(fs->list) : 0;
        json_object *o;

        if (n > FINDINGS_MAX)
                return;
        if (n == FINDINGS_MAX) {
                id = "findings";
                what = "there are more findings than listed here";
                remedy = "fix the ones listed, then check again";
        }
        o = json_object_new_object();
        json_add_str(o, "id", id);
        json_add_str(o, "severity", severity);
        json_add_str(o, "what", what);
        json_add_str(o, "remedy", remedy && *remedy ? remedy : NULL);
        if (!fs->list)
                fs->list = json_object_new_array();
        json_object_array_add(fs->list, o);
}

#define FORMAT(text, what)                                                                                   \
        char text[512];                                                                                      \
        va_list ap;                                                                                          \
        va_start(ap, what);                                                                                  \
        vsnprintf(text, sizeof(text), what, ap);                                                             \
        va_end(ap)

void finding_pass(struct findings *fs, const char *id, const char *what, ...)
{
        FORMAT(text, what);
        fs->n_passed++;
        add(fs, id, "passed", NULL, text);
}

void finding_warn(struct findings *fs, const char *id, const char *remedy, const char *what, ...)
{
        FORMAT(text, what);
        fs->n_warnings++;
        add(fs, id, "warning", remedy, text);
}

void finding_block(struct findings *fs, const char *id, const char *remedy, const char *what, ...)
{
        FORMAT(text, what);
        fs->n_blockers++;
        add(fs, id, "blocker", remedy, text);
}

void finding_block_failure(struct findings *fs, const char *id, const struct failure *f)
{
        fs->n_blockers++;
        add(fs, id, "blocker", f->remedy, f->what[0] ? f->what : strerror(f->error));
}
