/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/format.h"
#include "cli/verbs.h"

#include <inttypes.h>

static const char *text_or(const char *text, const char *otherwise)
{
        return text && *text ? text : otherwise;
}

/* A number, or "-" where there is none. */
static const char *number_text(json_object *o, const char *key, char text[static TEXT_MAX])
{
        int64_t n = json_int(o, key, -1);

        if (n < 0)
                return "-";
        snprintf(text, TEXT_MAX, "%" PRIi64, n);
        return text;
}

static const char *yes_no(bool yes)
{
        return yes ? "yes" : "no";
}

static void print_finding(json_object *finding)
{
        static const struct {
                const char *severity, *mark;
                enum colour colour;
        } table[] = {
                {"passed", "ok", COLOUR_GOOD},
                {"info", "info", COLOUR_DIM},
                {"warning", "warning", COLOUR_WARN},
                {"blocker", "BLOCKER", COLOUR_BAD},
        };
        const char *severity = json_str(finding, "severity") ?: "info", *remedy = json_str(finding, "remedy");
        size_t i = 0;

        while (i < ELEMENTSOF(table) - 1 && !STREQ(table[i].severity, severity))
                i++;
        printf("  %s%-8s%s %-18s %s\n", colour(stdout, table[i].colour), table[i].mark,
               colour(stdout, COLOUR_NONE), json_str(finding, "id") ?: "?", json_str(finding, "what") ?: "");
        if (remedy && !STREQ(severity, "passed"))
                printf("  %-8s %-18s -> %s\n", "", "", remedy);
}

static void print_findings(json_object *findings)
{
        for (size_t i = 0; findings && i < json_object_array_length(findings); i++)
                print_finding(json_object_array_get_idx(findings, i));
}

static bool has_blocker(json_object *findings)
{
        for (size_t i = 0; findings && i < json_object_array_length(findings); i++)
                if (STREQ(json_str(json_object_array_get_idx(findings, i), "severity") ?: "", "blocker"))
                        return true;
        return false;
}

int verb_probe(const struct options *o)
{
        _cleanup_json_ json_object *parameters = json_object_new_object(), *reply = NULL;
        json_object *kernel, *binaries, *wanted = json_object_new_array();
        const char *problem;
        int r;

        for (int i = 0; i < o->n_binaries; i++)
                json_object_array_add(wanted, json_object_new_string(o->binaries[i]));
        if (o->n_binaries)
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
                print_findings(json_arr(binary, "findings"));
        }
        return json_flag(kernel, "resetOwner") ? 0 : EXIT_REFUSED;
}

/* For verbs whose reply says nothing but that it was done. */
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

int verb_list(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *vms;
        int r = client_call(o, "List", NULL, &reply);

        if (r != 0)
                return r;
        if (o->json) {
                client_print_json(reply);
                return 0;
        }
        vms = json_arr(reply, "vms");
        printf("%-20s %-8s %8s %10s %5s %-7s %s\n", "NAME", "STATE", "PID", "CID", "CONN", "LAST", "QEMU");
        for (size_t i = 0; vms && i < json_object_array_length(vms); i++) {
                json_object *vm = json_object_array_get_idx(vms, i);
                char pid[TEXT_MAX], cid[TEXT_MAX], connections[TEXT_MAX];

                printf("%-20s %-8s %8s %10s %5s %-7s %s\n", json_str(vm, "name") ?: "?",
                       json_str(vm, "state") ?: "?", number_text(vm, "pid", pid), number_text(vm, "cid", cid),
                       number_text(vm, "connections", connections), json_str(vm, "lastHandoff") ?: "-",
                       text_or(json_str(vm, "binary"), "-"));
        }
        return 0;
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

static const char *qemu_text(json_object *qemu)
{
        return json_str(qemu, "version") ?: json_str(qemu, "binary") ?: "?";
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
        passed = json_flag(reply, "passed") && !has_blocker(findings);
        if (o->json) {
                client_print_json(reply);
                return passed ? 0 : EXIT_REFUSED;
        }
        printf("%s: QEMU %s -> %s\n", o->name, qemu_text(json_obj(reply, "source")),
               qemu_text(json_obj(reply, "destination")));
        print_findings(findings);
        printf("%s%s%s: %s\n", colour(stdout, passed ? COLOUR_GOOD : COLOUR_BAD),
               passed ? "passed" : "refused", colour(stdout, COLOUR_NONE),
               format_findings(findings, text, sizeof(text)));
        return passed ? 0 : EXIT_REFUSED;
}

static void print_record_line(json_object *record)
{
        char when[TEXT_MAX], pause[TEXT_MAX];
        int64_t usec = json_int(record, "pause", -1);

        printf("%-7s %-20s %-16s %-15s %-10s %-10s %9s  %s\n", json_str(record, "id") ?: "?",
               format_time(json_int(record, "time", 0), when), json_str(record, "name") ?: "?",
               format_outcome(json_str(record, "outcome")),
               json_str(json_obj(record, "source"), "version") ?: "-",
               json_str(json_obj(record, "destination"), "version") ?: "-",
               usec >= 0 ? format_duration(usec, pause) : "-", json_str(record, "reason") ?: "");
}

static void print_record(json_object *record)
{
        json_object *stages = json_arr(record, "stages");
        char text[TEXT_MAX];

        json_object_object_foreach (record, key, value) {
                if (!value || json_object_is_type(value, json_type_array))
                        continue;
                if (STREQ(key, "time"))
                        printf("%-18s %s\n", key, format_time(json_object_get_int64(value), text));
                else if (STREQ(key, "pause") || STREQ(key, "elapsed"))
                        printf("%-18s %s\n", key, format_duration(json_object_get_int64(value), text));
                else if (json_object_is_type(value, json_type_object))
                        printf("%-18s QEMU %s, pid %" PRIi64 ", %s\n", key, qemu_text(value),
                               json_int(value, "pid", 0), json_str(value, "binary") ?: "?");
                else
                        printf("%-18s %s\n", key,
                               STREQ(key, "outcome") ? format_outcome(json_object_get_string(value))
                                                     : json_object_get_string(value));
        }
        for (size_t i = 0; stages && i < json_object_array_length(stages); i++) {
                json_object *stage = json_object_array_get_idx(stages, i);

                printf("  %-16s %s\n", json_str(stage, "stage") ?: "?",
                       format_duration(json_int(stage, "elapsed", 0), text));
        }
        print_findings(json_arr(record, "findings"));
}

int verb_history(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *parameters = client_name(o), *records;
        int r;

        json_add_str(parameters, "id", o->id);
        r = client_call(o, "History", parameters, &reply);
        if (r != 0)
                return r;
        if (o->json) {
                client_print_json(reply);
                return 0;
        }
        records = json_arr(reply, "records");
        if (o->id && records) {
                print_record(json_object_array_get_idx(records, 0));
                return 0;
        }
        printf("%-7s %-20s %-16s %-15s %-10s %-10s %9s  %s\n", "ID", "ENDED", "VM", "OUTCOME", "FROM", "TO",
               "PAUSE", "REASON");
        for (size_t i = 0; records && i < json_object_array_length(records); i++)
                print_record_line(json_object_array_get_idx(records, i));
        return 0;
}
