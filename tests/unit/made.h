/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A destination's command line, made of a source's. */

#include "handoff/translate.h"
#include "test.h"

struct made {
        struct cmdline source, out;
        struct cmdline_facts facts;
        struct findings findings;
        char *text; /* what made_write() has written of @out */
};

/* @words are separated by blanks, the first is the binary. */
static inline struct made make_from(const char *words, const struct cmdline_plan *plan)
{
        struct made m = {};
        _cleanup_free_ char *data = text_copy(words);
        size_t size = strlen(words) + 1;

        for (size_t i = 0; i < size; i++)
                if (data[i] == ' ')
                        data[i] = '\0';
        EXPECT_INT(cmdline_parse(data, size, &m.source, NULL), 0);
        EXPECT_INT(cmdline_make(&m.source, plan, &m.out, &m.facts, &m.findings), 0);
        return m;
}

/* The words of the result from @first on, up to the word @until (NULL: all), separated by blanks. */
static inline void made_write(struct made *m, size_t first, const char *until)
{
        size_t size;
        FILE *out = open_memstream(&m->text, &size);

        for (size_t i = first; i < m->out.n && !(until && STREQ(m->out.argv[i], until)); i++)
                fprintf(out, "%s%s", i > first ? " " : "", m->out.argv[i]);
        fclose(out);
}

static inline void made_done(struct made *m)
{
        cmdline_done(&m->source);
        cmdline_done(&m->out);
        cmdline_facts_done(&m->facts);
        findings_done(&m->findings);
        free(m->text);
}
