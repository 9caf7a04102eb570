/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/twin.h"

#include "handoff/fault.h"
#include "handoff/options.h"
#include "handoff/optstr.h"
#include "handoff/qtree.h"
#include "handoff/wait.h"

#include <stdarg.h>

#define ID "twin"

static const struct {
        const char *command, *key, *value;
} questions[N_TWIN_QUESTIONS] = {
        [TWIN_QTREE] = {"human-monitor-command", "command-line", "info qtree"},
        [TWIN_NETWORK] = {"human-monitor-command", "command-line", "info network"},
        [TWIN_CHARDEVS] = {"query-chardev"},
        [TWIN_OBJECTS] = {"qom-list", "path", "/objects"},
        [TWIN_PERIPHERAL] = {"qom-list", "path", "/machine/peripheral"},
        [TWIN_BLOCK] = {"query-block"},
        [TWIN_NODES] = {"query-named-block-nodes"},
        [TWIN_GRAPH] = {"x-debug-query-block-graph"},
};

void twin_add(struct twin *t, const char *option, const char *value)
{
        struct cmdline *c = &t->out;
        char **argv = realloc(c->argv, (c->n + 3) * sizeof(*argv));

        if (!argv)
                abort();
        c->argv = argv;
        argv[c->n++] = text_copy(option);
        if (value)
                argv[c->n++] = text_copy(value);
        argv[c->n] = NULL;
}

#define FORMAT(text, what)                                                                                   \
        char text[400];                                                                                      \
        va_list ap;                                                                                          \
        va_start(ap, what);                                                                                  \
        vsnprintf(text, sizeof(text), what, ap);                                                             \
        va_end(ap)

void twin_say(struct twin *t, const char *what, ...)
{
        FORMAT(text, what);
        finding_pass(&t->h->findings, ID, "%s", text);
}

void twin_refuse(struct twin *t, const char *id, const char *remedy, const char *what, ...)
{
        FORMAT(text, what);
        finding_block(&t->h->findings, id, remedy, "%s", text);
}

/* ---- what the source has ---- */

static bool has_nodes(const struct twin *t)
{
        json_object *nodes = t->live[TWIN_NODES].reply;

        return json_object_is_type(nodes, json_type_array) && json_object_array_length(nodes);
}

static int ask(struct twin *t, struct failure *f)
{
        int r;

        for (size_t i = 0; i < N_TWIN_QUESTIONS; i++)
                t->live[i] = (struct qmp_question){
                        .command = questions[i].command,
                        .arguments = questions[i].key
                                             ? qmp_arguments(questions[i].key, questions[i].value, NULL)
                                             : NULL,
                };
        t->live[TWIN_NODES].arguments = json_object_new_object();
        json_add_bool(t->live[TWIN_NODES].arguments, "flat", true);
        r = wait_answers(t->h, t->live, TWIN_GRAPH, NULL, 0, f);
        if (r >= 0 && t->h->destination.tells_graph && has_nodes(t))
                r = wait_answers(t->h, &t->live[TWIN_GRAPH], 1, NULL, 0, f);
        if (r >= 0 && json_object_is_type(t->live[TWIN_QTREE].reply, json_type_string))
                r = qtree_parse(json_object_get_string(t->live[TWIN_QTREE].reply), &t->devices);
        if (r >= 0 && !t->devices)
                r = -EBADMSG;
        return r < 0 ? failure_set(f, r, "cannot read the source's tree of devices: %s", strerror(-r)) : 0;
}

/* Whether a list has an element whose @key is @name. */
static bool has(json_object *list, const char *key, const char *name)
{
        if (!json_object_is_type(list, json_type_array))
                return true; /* unknown: then nothing is removed */
        for (size_t i = 0; i < json_object_array_length(list); i++)
                if (STREQ(json_str(json_object_array_get_idx(list, i), key) ?: "", name))
                        return true;
        return false;
}

/* `info network` has a line for each: "NAME: index=…", " \ NAME: …", or " \ NAME" of a hub's port. */
static bool has_network_end(json_object *text, const char *name)
{
        const char *s = json_object_get_string(text);
        size_t n = strlen(name);

        if (!json_object_is_type(text, json_type_string))
                return true;
        for (const char *at = s; (at = strstr(at, name)); at += n)
                if (strchr(":\r\n", at[n]) &&
                    (at == s || at[-1] == '\n' || (at - s > 2 && strncmp(at - 3, " \\ ", 3) == 0)))
                        return true;
        return false;
}

/* ---- what is on the command line ---- */

/* Adds it, or reports that the source has lost it. */
static void take_if(struct twin *t, bool there, const char *option, const char *value)
{
        _cleanup_free_ char *id = optstr_get(value, "id");

        if (there)
                twin_add(t, option, value);
        else
                twin_say(t, "%s %s was removed since the start: the destination does not get it", option, id);
}

static void take_netdev(struct twin *t, const char *value)
{
        _cleanup_free_ char *id = optstr_get(value, "id");

        take_if(t, !id || has_network_end(t->live[TWIN_NETWORK].reply, id), "-netdev", value);
}

/* Those made by cmdline.c have other names in the source. */
static void take_chardev(struct twin *t, const char *value)
{
        _cleanup_free_ char *id = optstr_get(value, "id");

        take_if(t, !id || strncmp(id, "cprd-chr", 8) == 0 || has(t->live[TWIN_CHARDEVS].reply, "label", id),
                "-chardev", value);
}

static void take_object(struct twin *t, const char *value)
{
        _cleanup_free_ char *id = optstr_get(value, "id");

        take_if(t, !id || has(t->live[TWIN_OBJECTS].reply, "name", id), "-object", value);
}

static const struct {
        const char *option;
        void (*take)(struct twin *t, const char *value);
} rules[] = {
        {"-device", twin_take_device}, {"-drive", twin_take_drive}, {"-netdev", take_netdev},
        {"-chardev", take_chardev},    {"-object", take_object},
};

static void take_option(struct twin *t, const char *option, const char *value)
{
        const char *name = option[0] == '-' && option[1] == '-' ? option + 1 : option;

        for (size_t i = 0; value && i < ELEMENTSOF(rules); i++)
                if (STREQ(name, rules[i].option))
                        return rules[i].take(t, value);
        if (!STREQ(name, "-blockdev")) /* they are added all at once */
                twin_add(t, option, value);
}

static int walk(struct twin *t, const struct cmdline *c, struct failure *f)
{
        bool blockdevs_added = false;

        twin_add(t, c->argv[0], NULL);
        for (size_t i = 1; i < c->n; i++) {
                const char *option = c->argv[i],
                           *name = option[0] == '-' && option[1] == '-' ? option + 1 : option;
                const char *value =
                        option[0] == '-' && option_kind(name) == OPTION_WITH_VALUE ? c->argv[++i] : NULL;

                /* Before anything that may use them. */
                if (!blockdevs_added && (STREQ(name, "-device") || STREQ(name, "-blockdev"))) {
                        twin_add_blockdevs(t, c);
                        blockdevs_added = true;
                }
                take_option(t, option, value);
        }
        return twin_add_gained(t, f);
}

static void twin_done(struct twin *t)
{
        for (size_t i = 0; i < N_TWIN_QUESTIONS; i++)
                qmp_question_done(&t->live[i]);
        json_object_put(t->devices);
        json_object_put(t->blockdevs);
        json_object_put(t->told);
        cmdline_done(&t->out);
}

int twin_adapt(struct handoff *h, struct failure *f)
{
        _cleanup_(twin_done) struct twin t = {.h = h, .blockdevs = json_object_new_object()};
        struct cmdline *c = &h->destination.cmdline;
        int r;

        /* The control experiment of the tests: what is lost without it. */
        if (fault_is_set(h, "no-match"))
                return 0;
        r = ask(&t, f);
        if (r < 0)
                return r;
        twin_read_blockdevs(&t, c);
        r = walk(&t, c, f);
        if (r >= 0) {
                cmdline_done(c);
                *c = t.out;
                t.out = (struct cmdline){};
        }
        return r;
}
