/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/vm.h"

#include "common/connections.h"
#include "common/file.h"
#include "common/log.h"

#include <sys/epoll.h>

struct vm *vm_new(sd_event *event, const char *directory, const char *name, const char *qmp)
{
        struct vm *vm = mem_new(1, sizeof(*vm));

        vm->event = event;
        vm->path = file_path(directory, "%s.json", name);
        snprintf(vm->name, sizeof(vm->name), "%s", name);
        vm->process = PROCESS_NULL;
        vm->cid = vm->connections = -1;
        vm->qmp = text_copy(qmp);
        vm->binary = text_copy("");
        return vm;
}

struct vm *vm_free(struct vm *vm)
{
        if (!vm)
                return NULL;
        sd_event_source_disable_unref(vm->exit_watch);
        process_close(&vm->process);
        free(vm->path);
        free(vm->qmp);
        free(vm->binary);
        free(vm->version);
        free(vm->file);
        free(vm->last_handoff);
        free(vm);
        return NULL;
}

bool vm_is_gone(const struct vm *vm)
{
        return vm->process.pidfd < 0;
}

static void set_text(char **where, const char *value)
{
        if (!value)
                return;
        free(*where);
        *where = text_copy(value);
}

static void set_qemu(struct vm *vm, json_object *qemu)
{
        free(TAKE_PTR(vm->version));
        free(TAKE_PTR(vm->file));
        set_text(&vm->version, json_str(qemu, "version"));
        set_text(&vm->file, json_str(qemu, "file"));
}

void vm_save(const struct vm *vm)
{
        _cleanup_json_ json_object *o = json_object_new_object();
        int r;

        json_add_str(o, "name", vm->name);
        json_add_int(o, "pid", vm->pid);
        json_add_int(o, "startTime", (int64_t)vm->start_time);
        json_add_str(o, "qmp", vm->qmp);
        json_add_str(o, "binary", vm->binary);
        json_add_str(o, "version", vm->version);
        json_add_str(o, "file", vm->file);
        json_add_str(o, "lastHandoff", vm->last_handoff);
        json_add_int(o, "cid", vm->cid);
        json_add_int(o, "connections", vm->connections);
        r = file_write(vm->path, json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE), 0600);
        if (r < 0)
                log_full(LOG_WARNING, vm->name, NULL,
                         "cannot save its registry entry; a restart of cprd will forget it: %s",
                         strerror(-r));
}

void vm_erase(const struct vm *vm)
{
        if (unlink(vm->path) < 0 && errno != ENOENT)
                log_full(LOG_WARNING, vm->name, NULL, "cannot remove %s: %s", vm->path, strerror(errno));
}

static int on_exit_watch(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct vm *vm = userdata;

        vm->exit_watch = sd_event_source_disable_unref(vm->exit_watch);
        process_close(&vm->process);
        /* At the end of a handoff the source exits because it was told to. */
        if (!vm->job[0])
                log_full(LOG_NOTICE, vm->name, NULL, "QEMU (pid %d) has exited", vm->pid);
        return 0;
}

int vm_set_process(struct vm *vm, struct process *p)
{
        int r;

        vm->exit_watch = sd_event_source_disable_unref(vm->exit_watch);
        process_close(&vm->process);
        vm->process = *p;
        *p = PROCESS_NULL;
        if (vm_is_gone(vm))
                return 0;
        vm->pid = vm->process.pid;
        vm->start_time = vm->process.start_time;
        r = sd_event_add_io(vm->event, &vm->exit_watch, vm->process.pidfd, EPOLLIN, on_exit_watch, vm);
        if (r >= 0)
                sd_event_source_set_description(vm->exit_watch, vm->name);
        return r;
}

void vm_look(struct vm *vm)
{
        int64_t n = vm_is_gone(vm) ? -1 : connections_count(vm->cid);

        if (n >= 0)
                vm->connections = n;
}

json_object *vm_describe(const struct vm *vm)
{
        json_object *o = json_object_new_object();

        json_add_str(o, "name", vm->name);
        json_add_int(o, "pid", vm->pid);
        json_add_str(o, "qmp", vm->qmp);
        json_add_str(o, "binary", vm->binary);
        json_add_str(o, "version", vm->version);
        if (vm->cid >= 0)
                json_add_int(o, "cid", vm->cid);
        if (vm->connections >= 0)
                json_add_int(o, "connections", vm->connections);
        json_add_str(o, "state", vm->job[0] ? "handoff" : vm_is_gone(vm) ? "gone" : "running");
        json_add_str(o, "handoff", vm->job[0] ? vm->job : NULL);
        json_add_str(o, "lastHandoff", vm->last_handoff);
        return o;
}

void vm_learn(struct vm *vm, json_object *record)
{
        json_object *source = json_obj(record, "source");

        vm->cid = json_int(record, "cid", vm->cid);
        vm->connections =
                json_int(record, "connectionsAfter", json_int(record, "connectionsBefore", vm->connections));
        if (json_int(source, "pid", 0) == vm->pid)
                set_qemu(vm, source);
        /* The path it was started by says more than where a link of that name led at the time. */
        if (vm->binary[0] != '/' && json_int(source, "pid", 0) == vm->pid)
                set_text(&vm->binary, json_str(source, "binary"));
        vm_save(vm);
}

void vm_replace(struct vm *vm, struct process *p, json_object *qemu)
{
        int r = vm_set_process(vm, p);

        if (r < 0)
                log_full(LOG_WARNING, vm->name, NULL, "cannot watch the new QEMU: %s", strerror(-r));
        set_text(&vm->binary, json_str(qemu, "binary"));
        set_qemu(vm, qemu);
        vm_save(vm);
}

void vm_set_last_handoff(struct vm *vm, const char *id)
{
        set_text(&vm->last_handoff, id);
        vm_save(vm);
}

int vm_from_json(sd_event *event, const char *directory, json_object *o, struct vm **ret, struct failure *f)
{
        const char *name = json_str(o, "name"), *qmp = json_str(o, "qmp");
        int64_t pid = json_int(o, "pid", 0);
        _cleanup_(vm_freep) struct vm *vm = NULL;
        _cleanup_(process_close) struct process p = PROCESS_NULL;
        struct failure gone = {};
        int r;

        if (!name_is_valid(name) || !qmp || pid <= 0)
                return failure_set(f, EBADMSG, "not a registry entry");
        vm = vm_new(event, directory, name, qmp);
        vm->pid = (pid_t)pid;
        vm->start_time = (uint64_t)json_int(o, "startTime", 0);
        vm->cid = json_int(o, "cid", -1);
        vm->connections = json_int(o, "connections", -1);
        set_text(&vm->binary, json_str(o, "binary"));
        set_qemu(vm, o);
        set_text(&vm->last_handoff, json_str(o, "lastHandoff"));
        if (vm->start_time && process_open(&p, vm->pid, vm->start_time, &gone) < 0)
                log_full(LOG_NOTICE, name, NULL, "is gone: %s", gone.what);
        r = vm_set_process(vm, &p);
        if (r < 0)
                return failure_set(f, r, "cannot watch the process: %s", strerror(-r));
        *ret = TAKE_PTR(vm);
        return 0;
}
