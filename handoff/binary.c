/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/allow.h"
#include "handoff/check.h"
#include "handoff/launch.h"
#include "handoff/wait.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ID_FILE "destination-binary"
#define ID_QEMU "destination-qemu"

void check_binary_file(struct handoff *h, struct findings *fs)
{
        struct destination *d = &h->destination;
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        const char *defect, *remedy;
        struct failure f = {}, what = {};

        if (!allow_path(json_arr(json_obj(h->order.json, "order"), "binaries"), h->facts.destination.binary))
                return finding_block(fs, ID_FILE, "add it to `binaries` in /etc/cprd/cprd.conf",
                                     "%s is not in the list of allowed binaries",
                                     h->facts.destination.binary);
        path = text_print("root%s", h->facts.destination.binary);
        fd = openat(h->source.process.proc_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &d->file) < 0)
                return finding_block(fs, ID_FILE, "install it, or name another one with --qemu", "%s: %s",
                                     h->facts.destination.binary, strerror(errno));
        defect = allow_file_defect(&d->file, &remedy);
        if (defect)
                return finding_block(fs, ID_FILE, remedy, "%s %s", h->facts.destination.binary, defect);
        if (vmstate_find_slot(fd, &d->shield.slot, &f) < 0) {
                failure_set(&what, f.error, "%s: %s", h->facts.destination.binary, f.what);
                failure_remedy(&what, "%s", f.remedy[0] ? f.remedy : "name a qemu-system binary");
                return finding_block_failure(fs, ID_FILE, &what);
        }
        finding_pass(fs, ID_FILE, "%s, one shield slot", h->facts.destination.binary);
}

/* Starts it with no machine and a QMP connection, as the source's twin. */
static int run_binary(struct handoff *h, struct launched *child, struct failure *f)
{
        char *const argv[] = {h->facts.destination.binary,
                              "-machine",
                              "none",
                              "-nodefaults",
                              "-no-user-config",
                              "-display",
                              "none",
                              "-chardev",
                              "socket,id=probe,fd=10",
                              "-mon",
                              "chardev=probe,mode=control",
                              NULL};
        _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC), mine = -EBADF, its = -EBADF;
        int pair[2], r;

        if (null < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return failure_set(f, errno, "cannot make a socket pair: %s", strerror(errno));
        mine = pair[0];
        its = pair[1];
        r = launch_prepare(
                &(struct launch){.twin = &h->source.process,
                                 .binary = h->facts.destination.binary,
                                 .argv = argv,
                                 .fds = (struct launch_fd[]){{null, 0}, {null, 1}, {null, 2}, {its, 10}},
                                 .n_fds = 4},
                child, f);
        if (r < 0)
                return r;
        launch_go(child);
        return qmp_new(TAKE_FD(mine), &h->destination.qmp); /* where the loop of wait.c looks for news */
}

static bool knows_machine(json_object *machines, const char *name)
{
        for (size_t i = 0;
             json_object_is_type(machines, json_type_array) && i < json_object_array_length(machines); i++) {
                json_object *m = json_object_array_get_idx(machines, i);

                if (STREQ(json_str(m, "name") ?: "", name) || STREQ(json_str(m, "alias") ?: "", name))
                        return true;
        }
        return false;
}

static bool knows_cpr_transfer(json_object *schema)
{
        const char *text = schema ? json_object_to_json_string_ext(schema, JSON_C_TO_STRING_PLAIN) : "";

        return strstr(text, "\"cpr-transfer\"") != NULL;
}

static int ask_binary(struct handoff *h, struct findings *fs, struct failure *f)
{
        _cleanup_json_ json_object *version = NULL, *machines = NULL, *schema = NULL;
        struct destination *d = &h->destination;
        struct qmp *q = d->qmp;
        int r = wait_greeting(h, q, h->step.deadline - now_usec(), f);

        if (r >= 0)
                r = wait_qmp(h, q, "query-version", NULL, &version, f);
        if (r >= 0)
                r = wait_qmp(h, q, "query-machines", NULL, &machines, f);
        if (r >= 0)
                r = wait_qmp(h, q, "query-qmp-schema", NULL, &schema, f);
        if (r < 0)
                return r;
        h->facts.destination.version = qmp_version_text(version);
        r = facts_note(h, "destination", f);
        if (r < 0)
                return r;
        if (!knows_cpr_transfer(schema))
                finding_block(fs, ID_QEMU, "use QEMU 10.0 or newer", "QEMU %s has no cpr-transfer",
                              h->facts.destination.version);
        else if (!knows_machine(machines, h->facts.source.machine))
                finding_block(fs, ID_QEMU, "use a QEMU that still has this machine type",
                              "QEMU %s does not know the machine type %s", h->facts.destination.version,
                              h->facts.source.machine);
        else
                finding_pass(fs, ID_QEMU, "QEMU %s knows the machine %s", h->facts.destination.version,
                             h->facts.source.machine);
        return 0;
}

void check_binary_runs(struct handoff *h, struct findings *fs)
{
        _cleanup_(launch_done) struct launched child = LAUNCHED_NULL;
        struct failure f = {}, why = {};
        int r;

        if (!h->destination.shield.slot.slot)
                return; /* not a binary that may be run */
        r = run_binary(h, &child, &f);
        if (r >= 0)
                r = ask_binary(h, fs, &f);
        if (child.process.pidfd >= 0) {
                pidfd_send_signal(child.process.pidfd, SIGKILL, NULL, 0);
                waitpid(child.process.pid, NULL, 0);
        }
        h->destination.qmp = qmp_free(h->destination.qmp);
        if (r < 0) {
                if (child.report >= 0)
                        launch_report(&child, &why);
                finding_block(fs, ID_QEMU, "see that it runs on this host: try `-machine none -nodefaults`",
                              "%s does not start as a QEMU: %s", h->facts.destination.binary,
                              why.error ? why.what : f.what);
        }
}
