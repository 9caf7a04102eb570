/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/vms.h"

#include <inttypes.h>
#include <sys/stat.h>

static bool same_file(const char *a, const char *b)
{
        struct stat first, second;

        return stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev &&
               first.st_ino == second.st_ino;
}

/* Looks at the process itself, as only root may. */
static enum outdated look(json_object *vm)
{
        const char *binary = json_str(vm, "binary");
        struct stat running, at_path;
        char exe[48];

        snprintf(exe, sizeof(exe), "/proc/%" PRIi64 "/exe", json_int(vm, "pid", 0));
        if (!binary || !STREQ(json_str(vm, "state") ?: "", "running") || stat(exe, &running) < 0 ||
            stat(binary, &at_path) < 0)
                return OUTDATED_UNKNOWN;
        return running.st_dev == at_path.st_dev && running.st_ino == at_path.st_ino ? OUTDATED_NO
                                                                                    : OUTDATED_YES;
}

enum outdated vm_outdated(json_object *vm)
{
        json_object *value = NULL;

        if (STREQ(json_str(vm, "state") ?: "", "gone"))
                return OUTDATED_UNKNOWN;
        if (json_object_object_get_ex(vm, "outdated", &value) &&
            json_object_is_type(value, json_type_boolean))
                return json_object_get_boolean(value) ? OUTDATED_YES : OUTDATED_NO;
        return look(vm);
}

bool vm_runs_already(json_object *vm, const char *qemu)
{
        const char *binary = json_str(vm, "binary");

        return vm_outdated(vm) == OUTDATED_NO && (!qemu || (binary && same_file(qemu, binary)));
}

/* A list that silently left out the unknown ones would pass for a complete one. */
static void say_unknown(json_object *vms)
{
        size_t n = 0;

        for (size_t i = 0; vms && i < json_object_array_length(vms); i++) {
                json_object *vm = json_object_array_get_idx(vms, i);

                n += STREQ(json_str(vm, "state") ?: "", "running") && vm_outdated(vm) == OUTDATED_UNKNOWN;
        }
        if (n)
                fprintf(stderr,
                        "cprctl: it is not known which QEMU %zu of the VMs run%s. A check will tell: cprctl check NAME\n",
                        n, n == 1 ? "s" : "");
}

int vms_get(const struct options *o, json_object **ret)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *vms, *wanted;
        int r = client_call(o, "List", NULL, &reply);

        if (r != 0)
                return r;
        vms = json_arr(reply, "vms");
        if (!o->json)
                say_unknown(vms);
        if (o->outdated && vms) {
                wanted = json_object_new_array();
                for (size_t i = 0; i < json_object_array_length(vms); i++) {
                        json_object *vm = json_object_array_get_idx(vms, i);

                        if (vm_outdated(vm) == OUTDATED_YES)
                                json_object_array_add(wanted, json_object_get(vm));
                }
                json_object_object_add(reply, "vms", wanted);
        }
        *ret = TAKE_PTR(reply);
        return 0;
}
