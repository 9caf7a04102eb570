/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/registry.h"

#include "common/file.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>

#define ENTRY_MAX 65536 /* bytes in one file */

struct vm *registry_find(const struct registry *reg, const char *name)
{
        for (struct vm *vm = reg->vms; vm; vm = vm->next)
                if (STREQ(vm->name, name))
                        return vm;
        return NULL;
}

static void insert(struct registry *reg, struct vm *vm)
{
        struct vm **at = &reg->vms;

        while (*at && strcmp((*at)->name, vm->name) < 0)
                at = &(*at)->next;
        vm->next = *at;
        *at = vm;
}

/* Takes it out of the list and frees it. */
static void drop(struct registry *reg, struct vm *vm)
{
        struct vm **at = &reg->vms;

        while (*at != vm)
                at = &(*at)->next;
        *at = vm->next;
        vm_free(vm);
}

static int check_unique(const struct registry *reg, const char *name, pid_t pid, struct failure *f)
{
        size_t n = 0;

        for (struct vm *vm = reg->vms; vm; vm = vm->next, n++) {
                if (STREQ(vm->name, name)) {
                        if (!vm_is_gone(vm) || vm->job[0])
                                return REGISTRY_NAME_TAKEN;
                } else if (!vm_is_gone(vm) && vm->pid == pid) {
                        failure_set(f, EINVAL, "process %d is registered already, as %s", pid, vm->name);
                        return failure_remedy(f, "unregister %s first", vm->name);
                }
        }
        if (n >= VMS_MAX) {
                failure_set(f, ENOSPC, "%d VMs are registered already", VMS_MAX);
                return failure_remedy(f, "unregister those that are gone");
        }
        return 0;
}

int registry_add(struct registry *reg, const char *name, struct process *p, const char *qmp,
                 const char *binary, struct failure *f)
{
        _cleanup_(vm_freep) struct vm *vm = NULL;
        struct vm *old = registry_find(reg, name);
        int r = check_unique(reg, name, p->pid, f);

        if (r != 0)
                return r;
        vm = vm_new(reg->event, reg->directory, name, qmp);
        free(vm->binary);
        vm->binary = text_copy(binary);
        r = vm_set_process(vm, p);
        if (r < 0)
                return failure_set(f, r, "cannot watch process %d: %s", vm->pid, strerror(-r));
        if (old)
                drop(reg, old);
        vm_save(vm);
        log_full(LOG_INFO, name, NULL, "registered, pid %d, QMP %s", vm->pid, qmp);
        insert(reg, TAKE_PTR(vm));
        return 0;
}

void registry_remove(struct registry *reg, struct vm *vm)
{
        vm_erase(vm);
        log_full(LOG_INFO, vm->name, NULL, "unregistered");
        drop(reg, vm);
}

static int load_one(struct registry *reg, int dirfd, const char *file, struct failure *f)
{
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ json_object *o = NULL;
        struct vm *vm;
        int r = file_read(dirfd, file, ENTRY_MAX, &text, NULL);

        if (r < 0)
                return failure_set(f, r, "%s", strerror(-r));
        o = json_tokener_parse(text);
        r = vm_from_json(reg->event, reg->directory, o, &vm, f);
        if (r < 0)
                return r;
        if (registry_find(reg, vm->name)) {
                vm_free(vm);
                return failure_set(f, EEXIST, "there are two of this name");
        }
        insert(reg, vm);
        return 0;
}

int registry_init(struct registry *reg, sd_event *event, const char *runtime, struct failure *f)
{
        struct dirent *entry;
        DIR *dir;

        *reg = (struct registry){.event = event, .directory = file_path(runtime, "vms")};
        dir = opendir(reg->directory);
        if (!dir)
                return failure_set(f, errno, "cannot read %s: %s", reg->directory, strerror(errno));
        while ((entry = readdir(dir))) {
                const char *suffix = strrchr(entry->d_name, '.');
                struct failure why = {};

                if (suffix && STREQ(suffix, ".json") && suffix > entry->d_name &&
                    load_one(reg, dirfd(dir), entry->d_name, &why) < 0)
                        log_warning("%s/%s is ignored: %s", reg->directory, entry->d_name, why.what);
        }
        closedir(dir);
        return 0;
}

void registry_done(struct registry *reg)
{
        while (reg->vms)
                drop(reg, reg->vms);
        free(reg->directory);
        *reg = (struct registry){};
}
