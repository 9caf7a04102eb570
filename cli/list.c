/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/table.h"
#include "cli/verbs.h"
#include "cli/vms.h"

#include <inttypes.h>

/* A number, or NULL where there is none. */
static const char *number_text(json_object *o, const char *key, char text[static TEXT_MAX])
{
        int64_t n = json_int(o, key, -1);

        if (n < 0)
                return NULL;
        snprintf(text, TEXT_MAX, "%" PRIi64, n);
        return text;
}

/* What Probe says about the binaries on the allow-list; NULL: nothing. */
static json_object *probe_binaries(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;

        return client_call(o, "Probe", NULL, &reply) == 0 ? json_object_get(json_arr(reply, "binaries"))
                                                          : NULL;
}

static const char *version_of(json_object *binaries, const char *path)
{
        for (size_t i = 0; path && binaries && i < json_object_array_length(binaries); i++) {
                json_object *binary = json_object_array_get_idx(binaries, i);

                if (STREQ(json_str(binary, "binary") ?: "", path))
                        return json_str(binary, "version");
        }
        return NULL;
}

/* Known from the last check or handoff, or because the running file is still the one at the path. */
static const char *running_version(json_object *vm, enum outdated outdated, const char *now)
{
        return json_str(vm, "version") ?: outdated == OUTDATED_NO ? now : NULL;
}

static void add_vm(struct table *t, json_object *vm, json_object *binaries)
{
        static const char *const words[] = {
                [OUTDATED_UNKNOWN] = "?", [OUTDATED_NO] = "no", [OUTDATED_YES] = "yes"};
        char pid[TEXT_MAX], cid[TEXT_MAX], connections[TEXT_MAX];
        const char *state = json_str(vm, "state") ?: "?", *now = version_of(binaries, json_str(vm, "binary"));
        enum outdated outdated = vm_outdated(vm);
        const char *cells[] = {
                json_str(vm, "name"),
                state,
                number_text(vm, "pid", pid),
                number_text(vm, "cid", cid),
                number_text(vm, "connections", connections),
                running_version(vm, outdated, now),
                now,
                STREQ(state, "gone") ? NULL : words[outdated],
                json_str(vm, "lastHandoff"),
                json_str(vm, "binary"),
        };

        table_add(t,
                  STREQ(state, "gone")       ? COLOUR_DIM
                  : outdated == OUTDATED_YES ? COLOUR_WARN
                                             : COLOUR_NONE,
                  cells);
}

void list_print(json_object *vms, json_object *binaries, FILE *out, size_t width)
{
        static const struct column columns[] = {
                {"NAME", CUT_END, 0},       {"STATE", ALIGN_LEFT, 1},    {"PID", ALIGN_RIGHT, 5},
                {"CID", ALIGN_RIGHT, 4},    {"CONN", ALIGN_RIGHT, 3},    {"RUNS", ALIGN_LEFT, 0},
                {"AT PATH", ALIGN_LEFT, 2}, {"OUTDATED", ALIGN_LEFT, 0}, {"LAST", ALIGN_LEFT, 6},
                {"PATH", CUT_START, 7},
        };
        struct table t;

        table_init(&t, columns, ELEMENTSOF(columns));
        for (size_t i = 0; vms && i < json_object_array_length(vms); i++)
                add_vm(&t, json_object_array_get_idx(vms, i), binaries);
        table_print(&t, out, width);
        table_done(&t);
}

int verb_list(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL, *binaries = NULL;
        int r = vms_get(o, &reply);

        if (r != 0)
                return r;
        if (o->json) {
                client_print_json(reply);
                return 0;
        }
        binaries = probe_binaries(o);
        list_print(json_arr(reply, "vms"), binaries, stdout, terminal_width(stdout));
        return 0;
}
