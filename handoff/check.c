/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/check.h"

#include "common/file.h"
#include "common/kernel.h"
#include "handoff/binary.h"
#include "handoff/confinement.h"
#include "handoff/cut.h"
#include "handoff/fault.h"
#include "handoff/listeners.h"
#include "handoff/migration.h"
#include "handoff/nic.h"
#include "handoff/pidfile.h"
#include "handoff/twin.h"
#include "handoff/unit.h"
#include "handoff/vnc.h"
#include "handoff/wait.h"

#include <sys/stat.h>

/* Each looks at one thing and adds findings under its id. What they mean for an operator is in
 * docs/checks.md. */

static void check_kernel(struct handoff *h, struct findings *fs, const char *id)
{
        struct kernel k;

        kernel_probe(DEVICE_PATH, &k);
        if (!k.reset_owner)
                return finding_block_failure(fs, id, &k.problem);
        finding_pass(fs, id, "Linux %s: vhost-vsock has VHOST_RESET_OWNER", k.release);
}

static void check_kernel_reclaim(struct handoff *h, struct findings *fs, const char *id)
{
        struct kernel k;

        kernel_probe(DEVICE_PATH, &k);
        if (k.reclaim)
                finding_pass(fs, id, "a device of a dead owner can be reclaimed");
        else if (k.reset_owner)
                finding_warn(
                        fs, id, "install vhost-vsock-cpr-dkms, which can reclaim it",
                        "a destination that dies between its claim and commit takes the vsock connections with it: "
                        "this kernel cannot reclaim the device of a dead owner");
}

static void check_source_version(struct handoff *h, struct findings *fs, const char *id)
{
        if (atoi(h->facts.source.version) < 10)
                finding_block(fs, id, "restart the VM with QEMU 10.0 or newer, once",
                              "the source is QEMU %s, which has no cpr-transfer", h->facts.source.version);
        else
                finding_pass(fs, id, "the source is QEMU %s, machine %s", h->facts.source.version,
                             h->facts.source.machine);
}

static void check_device(struct handoff *h, struct findings *fs, const char *id)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;

        if (facts->n_vsock == 0 && h->facts.source.device_fd < 0)
                return finding_block(fs, id, "update this VM with QEMU's own cpr-transfer; it needs no cprd",
                                     "the VM has no vhost-vsock device");
        if (facts->n_vsock == 0)
                return finding_block(fs, id, "name the device on the command line instead of hot-plugging it",
                                     "the vhost-vsock device is not on the source's command line");
        if (facts->n_vsock > 1)
                return finding_block(fs, id, "start the VM with one vhost-vsock device",
                                     "the VM has %zu vhost-vsock devices", facts->n_vsock);
        if (h->facts.source.device_fd < 0 || facts->cid < 3 || facts->cid > UINT32_MAX - 1)
                return finding_block(
                        fs, id, "make sure that QEMU opened " DEVICE_PATH " (or got it as vhostfd=)",
                        "the source holds no " DEVICE_PATH ", or its guest-cid is not a guest's");
        finding_pass(fs, id, "CID %u, fd %d of process %d", (uint32_t)h->facts.source.cid,
                     (int)h->facts.source.device_fd, h->source.process.pid);
}

static void check_injection(struct handoff *h, struct findings *fs, const char *id)
{
        struct failure f = {};

        if (inject_prepare(&h->source.tracee, &f) < 0)
                return finding_block_failure(fs, id, &f);
        finding_pass(fs, id, "the source's code has what an injected system call needs");
}

static void check_tracing(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_free_ char *yama = NULL;
        uint64_t tracer = 0;

        process_status_number(&h->source.process, "TracerPid", 10, &tracer);
        if (tracer)
                return finding_block(fs, id, "end the debugger or strace on the source",
                                     "process %d traces the source", (int)tracer);
        if (file_read(-1, "/proc/sys/kernel/yama/ptrace_scope", 16, &yama, NULL) >= 0 && atoi(yama) == 3)
                return finding_block(fs, id, "boot with kernel.yama.ptrace_scope at 2 or lower",
                                     "kernel.yama.ptrace_scope=3 forbids all tracing");
        finding_pass(fs, id, "the source can be traced");
}

/* Whether @path is one file for the source and for us. */
static bool same_file(const struct process *p, const char *path)
{
        _cleanup_free_ char *inside = NULL;
        struct stat a, b;

        if (asprintf(&inside, "root%s", path) < 0)
                return false;
        return fstatat(p->proc_fd, inside, &a, 0) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
               a.st_ino == b.st_ino;
}

static void check_namespaces(struct handoff *h, struct findings *fs, const char *id)
{
        static const char *const fixed[] = {"user", "pid"}; /* the others can be joined with setns(2) */
        const struct process *p = &h->source.process;

        for (size_t i = 0; i < ELEMENTSOF(fixed); i++)
                if (!process_shares_namespace(p, fixed[i]))
                        return finding_block(fs, id, "run the VM in the host's user and pid namespaces",
                                             "the source runs in another %s namespace", fixed[i]);
        if (!same_file(p, HANDOFF_DIRECTORY))
                return finding_block(fs, id, "make /run/cprd visible to the VM (bind mount)",
                                     "the source does not see " HANDOFF_DIRECTORY
                                     ", where the two QEMUs meet");
        finding_pass(fs, id, "the source's namespaces can be joined");
}

static void check_listeners(struct handoff *h, struct findings *fs, const char *id)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;
        struct stat st;
        bool found = false;

        for (size_t i = 0; i < facts->n_listeners; i++) {
                const char *path = facts->listeners[i].path;

                found = found || STREQ(path, h->order.qmp);
                if (listener_name(h, &facts->listeners[i], (char[LISTENER_NAME_MAX]){}) < 0)
                        return finding_block(fs, id, "start the VM with a shorter path",
                                             "%s leaves no room for the name of the socket beside it", path);
                if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
                        return finding_block(fs, id, "give the path of the socket itself on the command line",
                                             "%s is not a socket", path);
                if (!same_file(&h->source.process, path))
                        return finding_block(
                                fs, id, "put the VM's sockets where host and VM see the same path",
                                "%s is not the same file for the source and for this host", path);
        }
        if (!found)
                return finding_block(fs, id, "register the VM with the path on its command line",
                                     "the QMP path %s is not one of the source's command line", h->order.qmp);
        finding_pass(fs, id, "%zu listening sockets will be handed on", facts->n_listeners);
}

/* For a question whose answer has not come. If that is because the handoff was cancelled, it says nothing of
 * the VM. */
static void no_answer(struct findings *fs, const char *id, const char *remedy, const struct failure *f)
{
        if (f->error != ECANCELED)
                finding_block(fs, id, remedy, "%s", f->what);
}

static void check_memory(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_json_ json_object *list = NULL;
        struct failure f = {};
        int r = wait_qmp(h, h->source.qmp, "query-memdev", NULL, &list, &f);

        if (r >= 0 && !json_object_is_type(list, json_type_array))
                r = failure_set(&f, EBADMSG, "QMP query-memdev: that is no list");
        if (r < 0)
                return no_answer(fs, id, "make sure that QEMU answers query-memdev", &f);
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *one = json_object_array_get_idx(list, i);

                if (!json_flag(one, "share"))
                        return finding_block(
                                fs, id,
                                "start the VM with -object memory-backend-memfd,id=ram0,size=…,share=on "
                                "-machine memory-backend=ram0",
                                "guest RAM (%s) is not shared: the destination could not take it over",
                                json_str(one, "id") ?: "the implicit one of -m");
        }
        if (json_object_array_length(list) == 0)
                return finding_block(fs, id, "start the VM with a memory backend with share=on",
                                     "guest RAM has no memory backend");
        finding_pass(fs, id, "guest RAM is shared");
}

static void check_aux_memory(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_json_ json_object *aux = NULL;
        struct failure f = {};
        const char *remedy = "start the VM with -machine …,aux-ram-share=on";
        int r = wait_qmp(h, h->source.qmp, "qom-get",
                         qmp_arguments("path", "/machine", "property", "aux-ram-share", NULL), &aux, &f);

        if (r < 0)
                no_answer(fs, id, remedy, &f);
        else if (!json_object_get_boolean(aux))
                finding_block(fs, id, remedy, "auxiliary RAM (video memory, ROMs) is not shared");
        else
                finding_pass(fs, id, "auxiliary RAM is shared");
}

static void check_run_state(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_json_ json_object *status = NULL;
        struct failure f = {};

        if (wait_qmp(h, h->source.qmp, "query-status", NULL, &status, &f) < 0)
                return no_answer(fs, id, "make sure that QEMU answers query-status", &f);
        if (!json_flag(status, "running"))
                return finding_block(fs, id, "continue the guest first (QMP cont)",
                                     "the guest does not run (%s)", json_str(status, "status") ?: "?");
        finding_pass(fs, id, "the guest runs");
}

static void check_migration(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_json_ json_object *reply = NULL;
        struct failure f = {};
        json_object *reasons;
        const char *status;

        if (wait_qmp(h, h->source.qmp, "query-migrate", NULL, &reply, &f) < 0)
                return no_answer(fs, id, "make sure that QEMU answers query-migrate", &f);
        status = json_str(reply, "status");
        reasons = json_arr(reply, "blocked-reasons");
        if (reasons && json_object_array_length(reasons))
                return finding_block(fs, id, "remove the device that cannot migrate", "QEMU says: %s",
                                     json_object_get_string(json_object_array_get_idx(reasons, 0)));
        if (status && !migration_is_over(status))
                return finding_block(fs, id, "wait for it, or cancel it", "a migration is under way (%s)",
                                     status);
        finding_pass(fs, id, "nothing blocks a migration");
}

static void check_cpu(struct handoff *h, struct findings *fs, const char *id)
{
        const char *cpu = h->destination.cmdline_facts.cpu;

        if (cpu && (STREQ(cpu, "max") || STREQ(cpu, "host")))
                finding_warn(fs, id, "use a named CPU model", "%s is not stable between versions", cpu);
        else
                finding_pass(fs, id, "CPU model %s", cpu ?: "(the machine's default)");
}

static void check_command_line(struct handoff *h, struct findings *fs, const char *id)
{
        for (size_t i = 0; fs->list && i < json_object_array_length(fs->list); i++)
                if (STREQ(json_str(json_object_array_get_idx(fs->list, i), "id"), "command-line") &&
                    STREQ(json_str(json_object_array_get_idx(fs->list, i), "severity"), "blocker"))
                        return;
        finding_pass(fs, id, "the command line can be handed on");
}

/* Brings the command line up to date. After the destination's binary, which is asked first what is
 * experimental. */
static void check_twin(struct handoff *h, struct findings *fs, const char *id)
{
        struct failure f = {};

        if (twin_adapt(h, &f) < 0)
                no_answer(fs, id, "make sure that QEMU answers `info qtree`", &f);
}

static void no_check(struct handoff *h, struct findings *fs, const char *id) {}

/* In this order. The ids are those of docs/checks.md. */
static const struct check {
        const char *id;
        void (*look)(struct handoff *h, struct findings *fs, const char *id);
} checks[] = {
        {"source-process", no_check}, /* the stage identify has checked it */
        {"qmp", no_check},            /* …and this */
        {"source-qemu", check_source_version},
        {"kernel", check_kernel},
        {"kernel-reclaim", check_kernel_reclaim},
        {"vsock-device", check_device},
        {"injection", check_injection},
        {"ptrace", check_tracing},
        {"namespaces", check_namespaces},
        {"memory", check_memory},
        {"aux-ram-share", check_aux_memory},
        {"run-state", check_run_state},
        {"migration", check_migration},
        {"command-line", check_command_line},
        {"sockets", check_listeners},
        {"nic", nic_check},
        {"pidfile", check_pidfile},
        {"unit", check_unit},
        {"seccomp", check_seccomp},
        {"landlock", check_landlock},
        {"capabilities", check_capabilities},
        {"vnc", check_vnc},
        {"cut", check_cut},
        {"cpu-model", check_cpu},
        {"destination-binary", check_binary_file},
        {"destination-qemu", check_binary_runs},
        {"twin", check_twin}, /* it also adds findings of the next ones */
        {"hot-plug", no_check},
        {"object", no_check},
        {"disk", no_check},
};

void check_print(void)
{
        for (size_t i = 0; i < ELEMENTSOF(checks); i++)
                printf("%s\n", checks[i].id);
}

/* A control experiment of the tests: what is lost without this check. */
static bool is_switched_off(const struct handoff *h, const char *id)
{
        char name[64];

        snprintf(name, sizeof(name), "no-check=%s", id ?: "");
        return fault_is_set(h, name);
}

int check_all(struct handoff *h, struct failure *f)
{
        int r = 0;

        h->source.tracee.process = &h->source.process;
        for (size_t i = 0; i < ELEMENTSOF(checks); i++) {
                r = wait_look(h, f);
                if (r < 0)
                        return r;
                checks[i].look(h, &h->findings, checks[i].id);
        }
        if (h->link.aborted)
                return failure_set(f, ECANCELED, "it was cancelled");
        for (size_t i = 0; h->findings.n_blockers && i < json_object_array_length(h->findings.list); i++) {
                json_object *o = json_object_array_get_idx(h->findings.list, i);

                if (!STREQ(json_str(o, "severity"), "blocker") || is_switched_off(h, json_str(o, "id")))
                        continue;
                failure_set(f, EPERM, "%s: %s", json_str(o, "id"), json_str(o, "what"));
                failure_remedy(f, "%s", json_str(o, "remedy") ?: "");
                r = -EPERM;
        }
        return r;
}
