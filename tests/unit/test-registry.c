/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The VMs, across restarts of cprd and with pids that have come to mean other processes. */
#include "common/file.h"
#include "daemon-fixture.h"

#include <fcntl.h>

static void register_and_forget(void)
{
        pid_t pid = qemu_start();
        _cleanup_json_ json_object *vm = NULL;

        register_vm("web1", pid);
        expect_error("io.cprd.Register",
                     json_text("{'name': 'web1', 'pid': %d, 'qmp': '%s'}", pid, fixture_qmp),
                     "io.cprd.VmExists");
        vm = describe("web1");
        EXPECT_INT(json_int(vm, "pid", 0), pid);
        EXPECT_STR(json_str(vm, "state"), "running");
        EXPECT_STR(json_str(vm, "qmp"), fixture_qmp);
        unregister_vm("web1");
        expect_error("io.cprd.Describe", json_text("{'name': 'web1'}"), "io.cprd.NoSuchVm");
        qemu_kill(pid);
}

static void not_usable(void)
{
        pid_t pid = qemu_start();
        const struct {
                pid_t pid;
                const char *qmp;
        } cases[] = {
                {pid, fixture_qmp}, /* registered already */
                {getpid(), fixture_qmp}, {pid, "/nonexistent"},  {pid, "relative"},
                {pid, "/dev/null"},      {1 << 22, fixture_qmp},
        };

        register_vm("web1", pid);
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                expect_error(
                        "io.cprd.Register",
                        json_text("{'name': 'web2', 'pid': %d, 'qmp': '%s'}", cases[i].pid, cases[i].qmp),
                        "io.cprd.NotUsable");
        unregister_vm("web1");
        qemu_kill(pid);
}

/* A restart forgets nothing. The name of one that is gone is free. */
static void restart(void)
{
        pid_t pid = qemu_start();

        register_vm("web1", pid);
        fixture_stop();
        fixture_start();
        expect_state("web1", "running");
        qemu_kill(pid);
        expect_state("web1", "gone");
        fixture_stop();
        fixture_start();
        expect_state("web1", "gone");
        expect_error("io.cprd.Handoff", json_text("{'name': 'web1'}"), "io.cprd.NotUsable");
        pid = qemu_start();
        register_vm("web1", pid);
        expect_state("web1", "running");
        unregister_vm("web1");
        qemu_kill(pid);
}

static void recycled_pid(void)
{
        pid_t pid = qemu_start();
        _cleanup_free_ char *path = file_path(fixture_runtime, "vms/old.json");

        EXPECT_INT(file_write(path,
                              json_text("{'name': 'old', 'pid': %d, 'startTime': 1, 'qmp': '/x',"
                                        " 'binary': '/q'}",
                                        pid),
                              0600),
                   0);
        fixture_stop();
        fixture_start();
        expect_state("old", "gone");
        unregister_vm("old");
        qemu_kill(pid);
}

static void unreadable_entries(void)
{
        static const char *const texts[] = {"", "[]", "{'name': '../x', 'pid': 1, 'qmp': '/x'}",
                                            "{'name': 'x', 'pid': 1}"};
        _cleanup_free_ char *path = file_path(fixture_runtime, "vms/x.json");

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                EXPECT_INT(file_write(path, json_text("%s", texts[i]), 0600), 0);
                fixture_stop();
                fixture_start();
                EXPECT(!d.registry.vms);
        }
        EXPECT(unlink(path) == 0);
}

static void expect_outdated(const char *path, bool allowed, bool outdated)
{
        _cleanup_json_ json_object *vm = describe("web1");
        json_object *value = NULL;

        EXPECT_STR(json_str(vm, "binary"), path);
        EXPECT_STR(json_str(vm, "version"), "1.2.3");
        EXPECT_INT(json_object_object_get_ex(vm, "outdated", &value), allowed);
        EXPECT_INT(json_object_get_boolean(value), outdated);
}

/* What a check has learnt outlives cprd; a package upgrade puts another file at the path. Files are looked at
 * only at paths that a handoff may use. */
static void outdated(void)
{
        pid_t pid = qemu_start();
        _cleanup_free_ char *path = file_path(fixture_runtime, "qemu-system-test");
        _cleanup_free_ char *config = file_path(fixture_runtime, "../cprd.conf");
        char file[FILE_IDENTITY_MAX];
        struct vm *vm;
        _cleanup_json_ json_object *record = NULL;

        EXPECT_INT(file_write(path, "old", 0755), 0);
        EXPECT_INT(file_identity(AT_FDCWD, path, file), 0);
        register_vm("web1", pid);
        vm = registry_find(&d.registry, "web1");
        free(vm->binary);
        vm->binary = strdup(path);
        record = json_tokener_parse(
                json_text("{'source': {'pid': %d, 'version': '1.2.3', 'file': '%s'}}", pid, file));
        vm_learn(vm, record);
        expect_outdated(path, false, false);
        fixture_stop();
        EXPECT_INT(file_write(config, json_text("{'binaries': ['%s']}", path), 0600), 0);
        fixture_start();
        expect_outdated(path, true, false);
        EXPECT_INT(file_write(path, "new", 0755), 0);
        expect_outdated(path, true, true);
        unregister_vm("web1");
        qemu_kill(pid);
        EXPECT(unlink(config) == 0);
}

/* Another QEMU is another version of another file: nothing known about the previous one carries over. */
static void replaced(void)
{
        pid_t pid = qemu_start();
        _cleanup_(process_close) struct process p = PROCESS_NULL;
        _cleanup_json_ json_object *new = json_tokener_parse(json_text("{'binary': '/new', 'version': '2'}"));
        struct failure f = {};
        struct vm *vm;

        register_vm("web1", pid);
        vm = registry_find(&d.registry, "web1");
        vm->file = strdup("1:2:3");
        EXPECT_INT(process_open(&p, pid, 0, &f), 0);
        vm_replace(vm, &p, new);
        EXPECT_STR(vm->version, "2");
        EXPECT(!vm->file);
        unregister_vm("web1");
        qemu_kill(pid);
}

/* Two would take each other's sockets and journals. */
static void one_cprd(void)
{
        struct failure f = {};
        struct config config;
        struct daemon second;

        EXPECT_INT(config_load(&config, "/nonexistent", &f), 0);
        EXPECT_INT(daemon_init(&second, fixture_runtime, fixture_state, &config, &f), -EBUSY);
        EXPECT(f.remedy[0]);
        daemon_done(&second);
        expect_done("io.cprd.List", "{}");
}

int main(void)
{
        fixture_set_up();
        TEST(register_and_forget);
        TEST(not_usable);
        TEST(restart);
        TEST(recycled_pid);
        TEST(unreadable_entries);
        TEST(outdated);
        TEST(replaced);
        TEST(one_cprd);
        fixture_tear_down();
        return 0;
}
