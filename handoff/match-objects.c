/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

#include "handoff/wait.h"

#define OBJECTS_MAX    128
#define PROPERTIES_MAX 64

static bool begins_with(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* What QEMU makes by itself, in some versions; compared under another name. */
static bool is_internal(const char *type)
{
        return !begins_with(type, "child<") || begins_with(type, "child<monitor");
}

/* Those whose properties are compared elsewhere, and those whose properties are secrets. */
static bool has_other_comparison(const char *type)
{
        static const char *const kinds[] = {"memory-backend", "iothread>", "secret", "tls-", "authz-"};

        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (begins_with(type, "child<") && begins_with(type + strlen("child<"), kinds[i]))
                        return true;
        return false;
}

static const char *type_in(json_object *list, const char *name)
{
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);

                if (STREQ(json_str(o, "name") ?: "", name))
                        return json_str(o, "type");
        }
        return NULL;
}

static const char *text_of(json_object *o)
{
        return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* ---- one object ---- */

static size_t make_questions(struct qmp_question *ret, const char *path, json_object *list)
{
        size_t n = 0;

        for (size_t i = 0; i < json_object_array_length(list) && n < PROPERTIES_MAX; i++) {
                json_object *o = json_object_array_get_idx(list, i);
                const char *name = json_str(o, "name"), *type = json_str(o, "type") ?: "";

                if (!name || begins_with(type, "child<") || begins_with(type, "link<") ||
                    STREQ(name, "type") ||
                    begins_with(name, "x-")) /* a throttle-group's limits, each once more */
                        continue;
                ret[n++] = (struct qmp_question){
                        .command = "qom-get",
                        .arguments = qmp_arguments("path", path, "property", name, NULL),
                };
        }
        return n;
}

static int compare_properties(struct match *m, const char *name, const char *path, json_object *list,
                              struct failure *f)
{
        struct qmp_question a[PROPERTIES_MAX] = {}, b[PROPERTIES_MAX] = {};
        char asked[PROPERTIES_MAX][64];
        size_t n = make_questions(a, path, list);
        int r;

        make_questions(b, path, list);
        for (size_t i = 0; i < n; i++)
                snprintf(asked[i], sizeof(asked[i]), "%s", json_str(a[i].arguments, "property"));
        r = wait_answers(m->h, a, n, b, n, f);
        for (size_t i = 0; i < n; i++) {
                if (r >= 0 && !a[i].error && !b[i].error && !json_object_equal(a[i].reply, b[i].reply))
                        match_differs(m, "object", "set it back, or restart the VM with it as it is now",
                                      "object %s: %s is %s in the source and %s in the destination", name,
                                      asked[i], text_of(a[i].reply), text_of(b[i].reply));
                qmp_question_done(&a[i]);
                qmp_question_done(&b[i]);
        }
        return r;
}

static int compare_object(struct match *m, const char *name, struct failure *f)
{
        char path[256];
        struct qmp_question a = {.command = "qom-list"}, b = {.command = "qom-list"};
        int r;

        snprintf(path, sizeof(path), "/objects/%s", name);
        a.arguments = qmp_arguments("path", path, NULL);
        b.arguments = qmp_arguments("path", path, NULL);
        r = wait_answers(m->h, &a, 1, &b, 1, f);
        if (r >= 0 && json_object_is_type(a.reply, json_type_array))
                r = compare_properties(m, name, path, a.reply, f);
        qmp_question_done(&a);
        qmp_question_done(&b);
        return r;
}

/* ---- all of them ---- */

static void report_missing(struct match *m, json_object *list, json_object *other, const char *whose)
{
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);
                const char *name = json_str(o, "name") ?: "", *type = json_str(o, "type") ?: "";
                const char *there = type_in(other, name);

                if (is_internal(type) || (there && STREQ(there, type)))
                        continue;
                match_differs(m, "object", "remove it again (object-del), or restart the VM as it is now",
                              "object %s (%.*s) is in the %s only", name,
                              (int)strcspn(type + strlen("child<"), ">"), type + strlen("child<"), whose);
        }
}

int match_objects(struct match *m, struct failure *f)
{
        json_object *a, *b;
        int r = 0;

        if (!match_answers(m, MATCH_OBJECTS, json_type_array, &a, &b))
                return 0;
        report_missing(m, a, b, "source");
        report_missing(m, b, a, "destination");
        for (size_t i = 0; r >= 0 && i < json_object_array_length(a) && i < OBJECTS_MAX; i++) {
                json_object *o = json_object_array_get_idx(a, i);
                const char *name = json_str(o, "name") ?: "", *type = json_str(o, "type") ?: "";

                if (!is_internal(type) && !has_other_comparison(type) && type_in(b, name))
                        r = compare_object(m, name, f);
        }
        return r;
}
