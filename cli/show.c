/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/findings.h"
#include "cli/format.h"
#include "cli/verbs.h"

#include <inttypes.h>

static const char *text_or(const char *text, const char *otherwise)
{
        return text && *text ? text : otherwise;
}

static const char *yes_no(bool yes)
{
        return yes ? "yes" : "no";
}

int verb_probe(const struct options *o)
{
        _cleanup_json_ json_object *parameters = json_object_new_object(), *reply = NULL;
        json_object *kernel, *binaries, *wanted = json_object_new_array();
        const char *problem;
        int r;

        for (int i = 0; i < o->n_arguments; i++)
                json_object_array_add(wanted, json_object_new_string(o->arguments[i]));
        if (o->n_arguments)
                json_add(parameters, "binaries", json_object_get(wanted));
        json_object_put(wanted);
        r = client_call(o, "Probe", TAKE_PTR(parameters), &reply);
        if (r != 0)
                return r;
        kernel = json_obj(reply, "kernel");
        binaries = json_arr(reply, "binaries");
        if (o->json) {
                client_print_json(reply);
                return json_flag(kernel, "resetOwner") ? 0 : EXIT_REFUSED;
        }
        printf("kernel %s\n  reset-owner  %s\n  reclaim      %s\n", json_str(kernel, "release") ?: "?",
               yes_no(json_flag(kernel, "resetOwner")), yes_no(json_flag(kernel, "reclaim")));
        problem = json_str(kernel, "problem");
        if (problem)
                printf("  problem      %s\n", problem);
        for (size_t i = 0; binaries && i < json_object_array_length(binaries); i++) {
                json_object *binary = json_object_array_get_idx(binaries, i);

                printf("%s %s\n", json_str(binary, "binary") ?: "?",
                       text_or(json_str(binary, "version"), "?"));
                findings_print(json_arr(binary, "findings"));
        }
        return json_flag(kernel, "resetOwner") ? 0 : EXIT_REFUSED;
}

/* For verbs whose reply only says that it was done. */
static int done(const struct options *o, int r, json_object *reply, const char *what)
{
        if (r != 0)
                return r;
        if (o->json)
                client_print_json(reply);
        else
                printf("%s: %s\n", o->name, what);
        return 0;
}

int verb_register(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *parameters = client_name(o);

        json_add_int(parameters, "pid", o->pid);
        json_add_str(parameters, "qmp", o->qmp);
        return done(o, client_call(o, "Register", parameters, &reply), reply, "registered");
}

int verb_unregister(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;

        return done(o, client_call(o, "Unregister", client_name(o), &reply), reply, "unregistered");
}

int verb_cancel(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;

        return done(o, client_call(o, "Cancel", client_name(o), &reply), reply, "is being rolled back");
}

int verb_show(const struct options *o)
{
        static const char *const keys[] = {"state", "pid",         "qmp",     "binary",
                                           "cid",   "connections", "handoff", "lastHandoff"};
        _cleanup_json_ json_object *reply = NULL;
        json_object *vm;
        int r = client_call(o, "Describe", client_name(o), &reply);

        if (r != 0)
                return r;
        if (o->json) {
                client_print_json(reply);
                return 0;
        }
        vm = json_obj(reply, "vm");
        printf("%s%s%s\n", colour(stdout, COLOUR_BOLD), o->name, colour(stdout, COLOUR_NONE));
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                json_object *value = NULL;

                if (json_object_object_get_ex(vm, keys[i], &value) && value)
                        printf("  %-12s %s\n", keys[i], json_object_get_string(value));
        }
        return 0;
}

int verb_check(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *parameters = client_name(o), *findings;
        char text[256];
        bool passed;
        int r;

        json_add_str(parameters, "binary", o->qemu);
        r = client_call(o, "Check", parameters, &reply);
        if (r != 0)
                return r;
        findings = json_arr(reply, "findings");
        passed = json_flag(reply, "passed") && !findings_have_blocker(findings);
        if (o->json) {
                client_print_json(reply);
                return passed ? 0 : EXIT_REFUSED;
        }
        printf("%s: QEMU %s -> %s\n", o->name, format_qemu(json_obj(reply, "source")),
               format_qemu(json_obj(reply, "destination")));
        findings_print(findings);
        printf("%s%s%s: %s\n", colour(stdout, passed ? COLOUR_GOOD : COLOUR_BAD),
               passed ? "passed" : "refused", colour(stdout, COLOUR_NONE),
               format_findings(findings, text, sizeof(text)));
        return passed ? 0 : EXIT_REFUSED;
}
