/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

#include "handoff/wait.h"

/*
 * Of the machine and of its first vCPU: a query each, so only what a command line does not settle. The
 * versions make different things of the same name of a machine ("q35") or a CPU ("max"); the other switches
 * of -machine are the same words in both, and nothing changes them at run time.
 */
static const struct property {
        const char *name;
        bool of_cpu;
} properties[] = {
        {"type"}, {"family", true}, {"model", true}, {"stepping", true}, {"feature-words", true},
};

enum { N_PROPERTIES = ELEMENTSOF(properties) };

/* One word of CPUID, by where it comes from. */
static uint64_t find_word(json_object *words, json_object *like)
{
        for (size_t i = 0; i < json_object_array_length(words); i++) {
                json_object *o = json_object_array_get_idx(words, i);

                if (json_int(o, "cpuid-input-eax", 0) == json_int(like, "cpuid-input-eax", 0) &&
                    json_int(o, "cpuid-input-ecx", 0) == json_int(like, "cpuid-input-ecx", 0) &&
                    STREQ(json_str(o, "cpuid-register") ?: "", json_str(like, "cpuid-register") ?: ""))
                        return (uint64_t)json_int(o, "features", 0);
        }
        return 0;
}

/* A guest does not look again, and fails on a feature that is gone. It does not know of new ones. */
static void compare_features(struct match *m, json_object *a, json_object *b)
{
        for (size_t i = 0; json_object_is_type(b, json_type_array) && i < json_object_array_length(a); i++) {
                json_object *word = json_object_array_get_idx(a, i);
                uint64_t lost = (uint64_t)json_int(word, "features", 0) & ~find_word(b, word);

                if (lost)
                        match_differs(
                                m, "cpu",
                                "start the VM with a named CPU model, or use a destination that has them",
                                "the destination's CPU lacks features: CPUID leaf %#lx,%ld register %s, bits "
                                "%#lx",
                                (long)json_int(word, "cpuid-input-eax", 0),
                                (long)json_int(word, "cpuid-input-ecx", 0),
                                json_str(word, "cpuid-register") ?: "?", (long)lost);
        }
}

static const char *text_of(json_object *o)
{
        return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static void compare_answers(struct match *m, const struct property *p, const struct qmp_question *a,
                            const struct qmp_question *b)
{
        /* One that only one of the versions has cannot be compared. */
        if (a->error || b->error)
                return;
        if (json_object_is_type(a->reply, json_type_array))
                compare_features(m, a->reply, b->reply);
        else if (!json_object_equal(a->reply, b->reply))
                match_differs(m, p->of_cpu ? "cpu" : "machine",
                              "start the VM with a versioned machine type and a named CPU model",
                              "%s's %s is %s in the source and %s in the destination",
                              p->of_cpu ? "the CPU" : "the machine", p->name, text_of(a->reply),
                              text_of(b->reply));
}

static const char *first_cpu(json_object *cpus)
{
        for (size_t i = 0; json_object_is_type(cpus, json_type_array) && i < json_object_array_length(cpus);
             i++) {
                const char *path = json_str(json_object_array_get_idx(cpus, i), "qom-path");

                if (path)
                        return path;
        }
        return "/machine/unattached/device[0]";
}

static void make_questions(struct qmp_question *ret, const char *cpu)
{
        for (size_t i = 0; i < N_PROPERTIES; i++)
                ret[i] = (struct qmp_question){
                        .command = "qom-get",
                        .arguments = qmp_arguments("path", properties[i].of_cpu ? cpu : "/machine",
                                                   "property", properties[i].name, NULL),
                };
}

/* The reply of a command that has one object for an answer. */
static void compare_objects(struct match *m, enum match_question question, const char *what,
                            const char *member)
{
        json_object *a, *b, *x = NULL, *y = NULL;

        if (!match_answers(m, question, json_type_object, &a, &b))
                return;
        json_object_object_get_ex(a, member, &x);
        json_object_object_get_ex(b, member, &y);
        if (!json_object_equal(x, y))
                match_differs(m, "machine", "restart the VM",
                              "%s is %s in the source and %s in the destination", what, text_of(x),
                              text_of(y));
}

int match_machine(struct match *m, struct failure *f)
{
        struct qmp_question a[N_PROPERTIES], b[N_PROPERTIES];
        int r;

        compare_objects(m, MATCH_KVM, "acceleration by KVM", "enabled");
        compare_objects(m, MATCH_UUID, "the VM's UUID", "UUID");
        make_questions(a, first_cpu(m->source[MATCH_CPUS].reply));
        make_questions(b, first_cpu(m->destination[MATCH_CPUS].reply));
        r = wait_answers(m->h, a, N_PROPERTIES, b, N_PROPERTIES, f);
        for (size_t i = 0; i < N_PROPERTIES; i++) {
                if (r >= 0)
                        compare_answers(m, &properties[i], &a[i], &b[i]);
                qmp_question_done(&a[i]);
                qmp_question_done(&b[i]);
        }
        return r;
}
