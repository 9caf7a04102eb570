/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cprctl without a command: this host at a glance. */
#include "cli/table.h"
#include "cli/verbs.h"
#include "cli/vms.h"

#define FAILURES_SHOWN 5
#define FAILURES_SINCE (7 * 86400 * (int64_t)USEC_PER_SEC)
#define MODULE_VERSION "/sys/module/vhost_vsock/version"

/* The daemon's replies, all owned. */
struct overview {
        json_object *info, *probe, *list, *history;
};

static void overview_done(struct overview *v)
{
        json_object_put(v->info);
        json_object_put(v->probe);
        json_object_put(v->list);
        json_object_put(v->history);
}

static int ask(const struct options *o, struct overview *v)
{
        int r = client_call(o, "org.varlink.service.GetInfo", NULL, &v->info);

        if (r == 0)
                r = client_call(o, "Probe", NULL, &v->probe);
        if (r == 0)
                r = client_call(o, "List", NULL, &v->list);
        if (r == 0)
                r = client_call(o, "History", NULL, &v->history);
        return r;
}

static void label(const char *text)
{
        printf("%s%-10s%s ", colour(stdout, COLOUR_BOLD), text, colour(stdout, COLOUR_NONE));
}

static void print_kernel(json_object *kernel)
{
        const char *problem = json_str(kernel, "problem");
        bool able = json_flag(kernel, "resetOwner");

        label("kernel");
        printf("%s, %s%s%s\n", json_str(kernel, "release") ?: "?", able ? "" : colour(stdout, COLOUR_BAD),
               !able                          ? "cannot hand devices over"
               : json_flag(kernel, "reclaim") ? "can hand devices over, and reclaim them"
                                              : "can hand devices over, but not reclaim them",
               able ? "" : colour(stdout, COLOUR_NONE));
        if (problem)
                printf("           %s\n", problem);
}

/* Only our module has a version; the distribution's does not. */
static void print_versions(json_object *info)
{
        char module[64] = "";
        FILE *f = fopen(MODULE_VERSION, "re");

        if (f) {
                if (fgets(module, sizeof(module), f))
                        module[strcspn(module, "\n")] = '\0';
                fclose(f);
        }
        label("packages");
        printf("cprd %s, cprctl %s, vhost_vsock %s\n", json_str(info, "version") ?: "?", CPRD_VERSION,
               module[0] ? module : "of the kernel");
}

static void print_binaries(json_object *binaries)
{
        for (size_t i = 0; binaries && i < json_object_array_length(binaries); i++) {
                json_object *binary = json_object_array_get_idx(binaries, i);

                label(i == 0 ? "QEMUs" : "");
                printf("%-10s %s\n", json_str(binary, "version") ?: "unusable",
                       json_str(binary, "binary") ?: "?");
        }
}

static void print_vms(json_object *vms)
{
        size_t n = vms ? json_object_array_length(vms) : 0, running = 0, outdated = 0, unknown = 0;

        for (size_t i = 0; i < n; i++) {
                json_object *vm = json_object_array_get_idx(vms, i);

                if (STREQ(json_str(vm, "state") ?: "", "gone"))
                        continue;
                running++;
                outdated += vm_outdated(vm) == OUTDATED_YES;
                unknown += vm_outdated(vm) == OUTDATED_UNKNOWN;
        }
        label("VMs");
        printf("%zu running, %zu gone; %s%zu outdated%s", running, n - running,
               outdated ? colour(stdout, COLOUR_WARN) : "", outdated,
               outdated ? colour(stdout, COLOUR_NONE) : "");
        printf(unknown ? ", %zu not known yet\n" : "\n", unknown);
        for (size_t i = 0; i < n; i++) {
                json_object *vm = json_object_array_get_idx(vms, i);
                const char *handoff = json_str(vm, "handoff");

                if (!handoff)
                        continue;
                label("in flight");
                printf("%s, record %s\n", json_str(vm, "name") ?: "?", handoff);
        }
}

/* The newest ones that ended without an update. */
static json_object *failures(json_object *records)
{
        json_object *found = json_object_new_array();

        for (size_t i = 0; records && i < json_object_array_length(records); i++) {
                json_object *record = json_object_array_get_idx(records, i);

                if (outcome_status(record) != EXIT_UPDATED &&
                    json_object_array_length(found) < FAILURES_SHOWN)
                        json_object_array_add(found, json_object_get(record));
        }
        return found;
}

static void print_failures(json_object *history)
{
        _cleanup_json_ json_object *found = NULL;

        history_keep_since(history, (int64_t)time(NULL) * (int64_t)USEC_PER_SEC - FAILURES_SINCE);
        found = failures(json_arr(history, "records"));
        label("failures");
        if (json_object_array_length(found) == 0) {
                printf("none in the last week\n");
                return;
        }
        printf("of the last week\n");
        history_print(found, stdout, terminal_width(stdout));
}

int verb_status(const struct options *o)
{
        struct overview v = {};
        int r = ask(o, &v);

        if (r == 0 && o->json) {
                json_object *all = json_object_new_object();

                json_add(all, "info", json_object_get(v.info));
                json_add(all, "probe", json_object_get(v.probe));
                json_add(all, "vms", json_object_get(json_arr(v.list, "vms")));
                json_add(all, "records", json_object_get(json_arr(v.history, "records")));
                client_print_json(all);
                json_object_put(all);
        } else if (r == 0) {
                print_kernel(json_obj(v.probe, "kernel"));
                print_versions(v.info);
                print_binaries(json_arr(v.probe, "binaries"));
                print_vms(json_arr(v.list, "vms"));
                print_failures(v.history);
        }
        overview_done(&v);
        return r;
}
