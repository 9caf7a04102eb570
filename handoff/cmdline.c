/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/cmdline.h"

void cmdline_done(struct cmdline *c)
{
        for (size_t i = 0; i < c->n; i++)
                free(c->argv[i]);
        free(c->argv);
        *c = (struct cmdline){};
}

void cmdline_facts_done(struct cmdline_facts *facts)
{
        for (size_t i = 0; i < facts->n_listeners; i++) {
                free(facts->listeners[i].path);
                free(facts->listeners[i].label);
                free(facts->listeners[i].source_label);
                close_fd(facts->listeners[i].fd);
        }
        json_object_put(facts->ids);
        free(facts->cpu);
        free(facts->pidfile);
        *facts = (struct cmdline_facts){};
}

void cmdline_add(struct cmdline *c, const char *word)
{
        c->argv = mem_resize(c->argv, (c->n + 2) * sizeof(*c->argv));
        c->argv[c->n++] = text_copy(word);
        c->argv[c->n] = NULL;
}

int cmdline_parse(const char *data, size_t size, struct cmdline *ret, struct failure *f)
{
        struct cmdline c = {};

        if (size == 0 || data[size - 1] != '\0')
                return failure_set(f, EBADMSG, "the process has no readable command line");
        for (const char *word = data; word < data + size; word += strlen(word) + 1)
                cmdline_add(&c, word);
        *ret = c;
        return 0;
}
