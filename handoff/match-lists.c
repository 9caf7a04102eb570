/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

/* QMP answers that are lists of named things: which of their members have to be the same. */
static const struct list {
        enum match_question question;
        const char *id, *noun;
        const char *key;    /* the member that names it, … */
        const char *other;  /* … or this one, if it has none */
        const char *inside; /* the member that has its members; NULL: itself */
        const char *members[8];
        const char *remedy;
} lists[] = {
        {MATCH_MEMDEV,
         "memory",
         "memory backend",
         "id",
         NULL,
         NULL,
         {"size", "share", "merge", "dump", "policy", "host-nodes"},
         "restart the VM with it as it is now"},
        {MATCH_DIMMS,
         "memory",
         "memory device",
         "id",
         "memdev",
         "data",
         {"memdev", "memaddr", "addr", "slot", "node", "max-size", "block-size"},
         "unplug it again, or restart the VM with it on its command line"},
        {MATCH_IOTHREADS,
         "iothread",
         "iothread",
         "id",
         NULL,
         NULL,
         {"poll-max-ns", "aio-max-batch"},
         "restart the VM with it on its command line"},
        {MATCH_TPM, "tpm", "TPM", "id", NULL, NULL, {"model"}, "restart the VM with it on its command line"},
        {MATCH_AUDIO,
         "audio",
         "audio backend",
         "id",
         NULL,
         NULL,
         {"driver"},
         "restart the VM with it on its command line"},
};

static json_object *inside(const struct list *l, json_object *element)
{
        return l->inside ? json_obj(element, l->inside) : element;
}

static const char *name_of(const struct list *l, json_object *o)
{
        return json_str(o, l->key) ?: (l->other ? json_str(o, l->other) : NULL) ?: "";
}

static json_object *find(const struct list *l, json_object *array, const char *name)
{
        for (size_t i = 0; i < json_object_array_length(array); i++) {
                json_object *o = inside(l, json_object_array_get_idx(array, i));

                if (STREQ(name_of(l, o), name))
                        return o;
        }
        return NULL;
}

static const char *member_text(json_object *o, const char *name)
{
        json_object *value = NULL;

        json_object_object_get_ex(o, name, &value);
        return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static void compare_members(struct match *m, const struct list *l, const char *name, json_object *a,
                            json_object *b)
{
        for (size_t i = 0; i < ELEMENTSOF(l->members) && l->members[i]; i++) {
                const char *x = member_text(a, l->members[i]), *y = member_text(b, l->members[i]);

                if (!STREQ(x, y))
                        match_differs(m, l->id, l->remedy,
                                      "%s %s: %s is %s in the source and %s in the destination", l->noun,
                                      name, l->members[i], x, y);
        }
}

static void compare_list(struct match *m, const struct list *l, json_object *a, json_object *b)
{
        for (size_t i = 0; i < json_object_array_length(a); i++) {
                json_object *x = inside(l, json_object_array_get_idx(a, i));
                const char *name = name_of(l, x);
                json_object *y = find(l, b, name);

                if (y)
                        compare_members(m, l, name, x, y);
                else
                        match_differs(m, l->id, l->remedy, "%s %s is in the source only", l->noun, name);
        }
        for (size_t i = 0; i < json_object_array_length(b); i++) {
                const char *name = name_of(l, inside(l, json_object_array_get_idx(b, i)));

                if (!find(l, a, name))
                        match_differs(m, l->id, l->remedy, "%s %s is in the destination only", l->noun, name);
        }
}

/* ---- vCPUs ---- */

/* The place of a vCPU; its path tells whether there is one. */
static json_object *find_cpu(json_object *array, json_object *place)
{
        for (size_t i = 0; i < json_object_array_length(array); i++) {
                json_object *o = json_object_array_get_idx(array, i);

                if (json_object_equal(json_obj(o, "props"), place))
                        return o;
        }
        return NULL;
}

static void compare_cpus(struct match *m, json_object *a, json_object *b)
{
        for (size_t i = 0; i < json_object_array_length(a); i++) {
                json_object *x = json_object_array_get_idx(a, i), *place = json_obj(x, "props"),
                            *y = find_cpu(b, place);
                bool in_source = json_str(x, "qom-path"), in_destination = json_str(y, "qom-path");

                if (in_source == in_destination &&
                    (!y || STREQ(json_str(x, "type") ?: "", json_str(y, "type") ?: "")))
                        continue;
                match_differs(m, "cpu", "unplug it again, or restart the VM with as many vCPUs as it has now",
                              "the vCPU at %s %s",
                              json_object_to_json_string_ext(place, JSON_C_TO_STRING_PLAIN),
                              in_source == in_destination ? "is of another model in the destination"
                              : in_source                 ? "is in the source only"
                                                          : "is in the destination only");
        }
        if (json_object_array_length(a) != json_object_array_length(b))
                match_differs(m, "cpu", "restart the VM with as many vCPUs as it has now",
                              "the source has %zu places for vCPUs, the destination %zu",
                              json_object_array_length(a), json_object_array_length(b));
}

int match_lists(struct match *m, struct failure *f)
{
        json_object *a, *b;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                if (match_answers(m, lists[i].question, json_type_array, &a, &b))
                        compare_list(m, &lists[i], a, b);
        if (match_answers(m, MATCH_CPUS, json_type_array, &a, &b))
                compare_cpus(m, a, b);
        return 0;
}
