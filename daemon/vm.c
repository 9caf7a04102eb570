/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/vm.h"
#include "common/file.h"

#include "common/connections.h"
#include "common/log.h"
#include "daemon/handoffs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>

#define ENTRY_MAX 65536 /* bytes of one file */

struct vm *vm_find(struct daemon *d, const char *name)
{
        for (struct vm *vm = d->vms; vm; vm = vm->next)
                if (STREQ(vm->name, name))
                        return vm;
        return NULL;
}

static void vm_free(struct vm *vm)
{
        sd_event_source_disable_unref(vm->exit_watch);
        process_close(&vm->process);
        free(vm->qmp);
        free(vm->binary);
        free(vm->strategy);
        free(vm->last_handoff);
        free(vm);
}

static bool vm_is_gone(const struct vm *vm)
{
        return vm->process.pidfd < 0;
}

static int set_string(char **where, const char *value)
{
        char *copy;

        if (!value)
                return 0;
        copy = strdup(value);
        if (!copy)
                return -ENOMEM;
        free(*where);
        *where = copy;
        return 0;
}

static void vm_save(const struct vm *vm)
{
        _cleanup_json_ json_object *o = json_object_new_object();
        _cleanup_free_ char *path = file_path(vm->daemon->runtime, "vms/%s.json", vm->name);
        int r;

        json_add_str(o, "name", vm->name);
        json_add_int(o, "pid", vm->pid);
        json_add_int(o, "startTime", (int64_t)vm->start_time);
        json_add_str(o, "qmp", vm->qmp);
        json_add_str(o, "binary", vm->binary);
        json_add_str(o, "strategy", vm->strategy);
        json_add_str(o, "lastHandoff", vm->last_handoff);
        json_add_int(o, "cid", vm->cid);
        json_add_int(o, "connections", vm->connections);
        r = file_write(path, json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE), 0600);
        if (r < 0)
                log_full(LOG_WARNING, vm->name, NULL,
                         "cannot save the registry entry, a restart will forget it: %s", strerror(-r));
}

static int on_exit_watch(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct vm *vm = userdata;

        vm->exit_watch = sd_event_source_disable_unref(vm->exit_watch);
        process_close(&vm->process);
        /* At the end of a handoff the source exits because it was asked to. */
        if (!vm->handoff)
                log_full(LOG_NOTICE, vm->name, NULL, "QEMU (pid %d) has exited", vm->pid);
        return 0;
}

static int vm_watch(struct vm *vm)
{
        int r;

        vm->exit_watch = sd_event_source_disable_unref(vm->exit_watch);
        if (vm_is_gone(vm))
                return 0;
        r = sd_event_add_io(vm->daemon->event, &vm->exit_watch, vm->process.pidfd, EPOLLIN, on_exit_watch,
                            vm);
        if (r >= 0)
                sd_event_source_set_description(vm->exit_watch, vm->name);
        return r;
}

static void vm_link(struct vm *vm)
{
        struct vm **at = &vm->daemon->vms;

        while (*at && strcmp((*at)->name, vm->name) < 0)
                at = &(*at)->next;
        vm->next = *at;
        *at = vm;
}

static void vm_unlink(struct vm *vm)
{
        struct vm **at = &vm->daemon->vms;

        while (*at != vm)
                at = &(*at)->next;
        *at = vm->next;
}

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static bool looks_like_qemu(const char *name)
{
        name = base_name(name);
        return strncmp(name, "qemu-system-", 12) == 0 || strncmp(name, "qemu-kvm", 8) == 0 ||
               STREQ(name, "kvm");
}

/* Cheap and without a privilege: the command line and the name of the process. What the executable really is
 * the check of cprd-handoff finds out, which may look. */
static int find_binary(struct process *p, char **ret, struct failure *f)
{
        _cleanup_free_ char *cmdline = NULL, *comm = NULL;
        int r = process_read(p, "cmdline", 4U << 20, &cmdline, NULL);

        if (r >= 0)
                r = process_read(p, "comm", 64, &comm, NULL);
        if (r < 0)
                return failure_set(f, r, "cannot look at process %d: %s", p->pid, strerror(-r));
        comm[strcspn(comm, "\n")] = '\0';
        if (!looks_like_qemu(cmdline) && !looks_like_qemu(comm)) {
                failure_set(f, EINVAL, "process %d is not a QEMU (it is \"%s\", started as \"%.200s\")",
                            p->pid, comm, cmdline);
                return failure_remedy(f, "give the pid of a qemu-system process");
        }
        *ret = strdup(cmdline);
        return *ret ? 0 : -ENOMEM;
}

static int check_qmp_path(const char *qmp, struct failure *f)
{
        struct stat st;

        if (qmp[0] != '/' || strlen(qmp) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
                failure_set(f, EINVAL, "\"%.200s\" is not an absolute path of a unix socket", qmp);
                return failure_remedy(f, "give the path of QEMU's -qmp unix:PATH,server=on,wait=off");
        }
        if (stat(qmp, &st) < 0) {
                if (errno == EACCES) /* a directory of QEMU's own user: cprd-handoff may look there */
                        return 0;
                failure_set(f, errno, "no QMP socket at %s: %s", qmp, strerror(errno));
                return failure_remedy(f, "start QEMU with -qmp unix:PATH,server=on,wait=off");
        }
        if (!S_ISSOCK(st.st_mode)) {
                failure_set(f, ENOTSOCK, "%s is not a socket", qmp);
                return failure_remedy(f, "give the path of QEMU's -qmp unix:PATH,server=on,wait=off");
        }
        return 0;
}

static int vm_new(struct daemon *d, const char *name, pid_t pid, const char *qmp, struct vm **ret)
{
        struct vm *vm = calloc(1, sizeof(*vm));

        if (!vm)
                return -ENOMEM;
        vm->daemon = d;
        snprintf(vm->name, sizeof(vm->name), "%s", name);
        vm->pid = pid;
        vm->process = PROCESS_NULL;
        vm->cid = vm->connections = -1;
        vm->qmp = strdup(qmp);
        if (!vm->qmp) {
                vm_free(vm);
                return -ENOMEM;
        }
        *ret = vm;
        return 0;
}

static int check_unique(struct daemon *d, const char *name, pid_t pid, struct failure *f)
{
        size_t n = 0;

        for (struct vm *vm = d->vms; vm; vm = vm->next, n++) {
                if (STREQ(vm->name, name)) {
                        if (!vm_is_gone(vm) || vm->handoff)
                                return -EEXIST;
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

int vm_register(struct daemon *d, const char *name, pid_t pid, const char *qmp, struct failure *f)
{
        struct vm *vm, *old = vm_find(d, name);
        int r = check_unique(d, name, pid, f);

        if (r >= 0)
                r = check_qmp_path(qmp, f);
        if (r >= 0)
                r = vm_new(d, name, pid, qmp, &vm);
        if (r < 0)
                return r;
        r = process_open(&vm->process, pid, 0, f);
        if (r >= 0)
                r = find_binary(&vm->process, &vm->binary, f);
        if (r >= 0)
                r = vm_watch(vm);
        if (r < 0) {
                vm_free(vm);
                return r;
        }
        vm->start_time = vm->process.start_time;
        if (old)
                vm_unregister(old);
        vm_link(vm);
        vm_save(vm);
        log_full(LOG_INFO, name, NULL, "registered, pid %d, QMP %s", pid, qmp);
        return 0;
}

void vm_unregister(struct vm *vm)
{
        _cleanup_free_ char *path = file_path(vm->daemon->runtime, "vms/%s.json", vm->name);

        if (unlink(path) < 0 && errno != ENOENT)
                log_full(LOG_WARNING, vm->name, NULL, "cannot remove %s: %s", path, strerror(errno));
        log_full(LOG_INFO, vm->name, NULL, "unregistered");
        vm_unlink(vm);
        vm_free(vm);
}

int64_t vm_count_connections(int64_t cid)
{
        struct connections c = {};
        int64_t n;

        if (cid < 0 || cid > UINT32_MAX || connections_list((uint32_t)cid, &c) < 0)
                return -1;
        n = (int64_t)c.n;
        connections_done(&c);
        return n;
}

void vm_look(struct vm *vm)
{
        int64_t n = vm_is_gone(vm) ? -1 : vm_count_connections(vm->cid);

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
        if (vm->cid >= 0)
                json_add_int(o, "cid", vm->cid);
        if (vm->connections >= 0)
                json_add_int(o, "connections", vm->connections);
        json_add_str(o, "strategy", vm->strategy);
        json_add_str(o, "state", vm->handoff ? "handoff" : vm_is_gone(vm) ? "gone" : "running");
        json_add_str(o, "handoff", vm->handoff ? vm->handoff->id : NULL);
        json_add_str(o, "lastHandoff", vm->last_handoff);
        return o;
}

void vm_learn(struct vm *vm, json_object *facts)
{
        json_object *source = json_obj(facts, "source");

        vm->cid = json_int(facts, "cid", vm->cid);
        vm->connections =
                json_int(facts, "connectionsAfter", json_int(facts, "connectionsBefore", vm->connections));
        set_string(&vm->strategy, json_str(facts, "strategy"));
        if (source && json_int(source, "pid", 0) == vm->pid)
                set_string(&vm->binary, json_str(source, "binary"));
        vm_save(vm);
}

void vm_replace(struct vm *vm, pid_t pid, int pidfd, const char *binary)
{
        struct process p = PROCESS_NULL;
        struct failure f = {};
        int copy = pidfd >= 0 ? fcntl(pidfd, F_DUPFD_CLOEXEC, 3) : -1;
        int r = copy >= 0 ? process_adopt(&p, copy, &f) : process_open(&p, pid, 0, &f);

        if (r < 0) {
                close_fd(copy);
                log_full(LOG_WARNING, vm->name, NULL, "the new QEMU (pid %d) is gone already: %s", pid,
                         f.what);
        }
        vm->exit_watch = sd_event_source_disable_unref(vm->exit_watch);
        process_close(&vm->process);
        vm->process = p;
        vm->pid = r < 0 ? pid : p.pid;
        vm->start_time = p.start_time;
        set_string(&vm->binary, binary);
        r = vm_watch(vm);
        if (r < 0)
                log_full(LOG_WARNING, vm->name, NULL, "cannot watch the new QEMU: %s", strerror(-r));
        vm_save(vm);
}

void vm_set_last_handoff(struct vm *vm, const char *id)
{
        set_string(&vm->last_handoff, id);
        vm_save(vm);
}

/* Makes an entry of what a file says; one whose process has gone meanwhile stays listed, as gone. */
static int vm_from_json(struct daemon *d, json_object *o, struct failure *f)
{
        const char *name = json_str(o, "name"), *qmp = json_str(o, "qmp");
        int64_t pid = json_int(o, "pid", 0);
        struct failure gone = {};
        struct vm *vm;
        int r;

        if (!name_is_valid(name) || !qmp || pid <= 0 || vm_find(d, name))
                return failure_set(f, EBADMSG, "not a registry entry");
        r = vm_new(d, name, (pid_t)pid, qmp, &vm);
        if (r < 0)
                return r;
        vm->start_time = (uint64_t)json_int(o, "startTime", 0);
        vm->cid = json_int(o, "cid", -1);
        vm->connections = json_int(o, "connections", -1);
        if (set_string(&vm->binary, json_str(o, "binary") ?: "") < 0 ||
            set_string(&vm->strategy, json_str(o, "strategy")) < 0 ||
            set_string(&vm->last_handoff, json_str(o, "lastHandoff")) < 0) {
                vm_free(vm);
                return -ENOMEM;
        }
        if (vm->start_time && process_open(&vm->process, vm->pid, vm->start_time, &gone) < 0)
                log_full(LOG_NOTICE, name, NULL, "is gone: %s", gone.what);
        r = vm_watch(vm);
        if (r < 0) {
                vm_free(vm);
                return failure_set(f, r, "cannot watch the process: %s", strerror(-r));
        }
        vm_link(vm);
        return 0;
}

int vm_load_all(struct daemon *d, struct failure *f)
{
        _cleanup_free_ char *path = file_path(d->runtime, "vms");
        DIR *dir = opendir(path);
        struct dirent *entry;

        if (!dir)
                return failure_set(f, errno, "cannot read %s: %s", path, strerror(errno));
        while ((entry = readdir(dir))) {
                _cleanup_free_ char *text = NULL;
                _cleanup_json_ json_object *o = NULL;
                struct failure why = {};
                size_t n = strlen(entry->d_name);

                if (n < 6 || !STREQ(entry->d_name + n - 5, ".json"))
                        continue;
                if (file_read(dirfd(dir), entry->d_name, ENTRY_MAX, &text, NULL) >= 0)
                        o = json_tokener_parse(text);
                if (vm_from_json(d, o, &why) < 0)
                        log_warning("%s/%s is left out: %s", path, entry->d_name, why.what);
        }
        closedir(dir);
        return 0;
}

void vm_free_all(struct daemon *d)
{
        while (d->vms) {
                struct vm *vm = d->vms;

                d->vms = vm->next;
                vm_free(vm);
        }
}
