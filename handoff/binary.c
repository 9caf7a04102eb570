/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/binary.h"
#include "common/allow.h"
#include "handoff/launch.h"
#include "handoff/wait.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ANSWER_USEC (60 * USEC_PER_SEC) /* for one answer of a binary, on a host that is very busy */

void check_binary_file(struct handoff *h, struct findings *fs, const char *id)
{
        struct destination *d = &h->destination;
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -EBADF;
        const char *defect, *remedy;
        struct failure f = {}, what = {};

        if (!allow_path(json_arr(json_obj(h->order.json, "order"), "binaries"), h->facts.destination.binary))
                return finding_block(fs, id, "add it to `binaries` in /etc/cprd/cprd.conf",
                                     "%s is not in the list of allowed binaries",
                                     h->facts.destination.binary);
        path = text_print("root%s", h->facts.destination.binary);
        fd = openat(h->source.process.proc_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &d->file) < 0)
                return finding_block(fs, id, "install it, or name another one with --qemu", "%s: %s",
                                     h->facts.destination.binary, strerror(errno));
        defect = allow_file_defect(&d->file, &remedy);
        if (defect)
                return finding_block(fs, id, remedy, "%s %s", h->facts.destination.binary, defect);
        if (vmstate_find_slot(fd, &d->shield.slot, &f) < 0) {
                failure_set(&what, f.error, "%s: %s", h->facts.destination.binary, f.what);
                failure_remedy(&what, "%s", f.remedy[0] ? f.remedy : "name a qemu-system binary");
                return finding_block_failure(fs, id, &what);
        }
        finding_pass(fs, id, "%s, one shield slot", h->facts.destination.binary);
}

/* ---- what is known about it ---- */

/* What the file is known by, and what was learnt about it:
 * {"path", "dev", "ino", "ctime" (ns), "size", "version", "machines": [names and aliases], "cprTransfer",
 * "blockGraph"}. cprd keeps it and gives it to later handoffs with their order. */
static json_object *describe_file(const struct handoff *h)
{
        const struct stat *st = &h->destination.file;
        json_object *o = json_object_new_object();

        json_add_str(o, "path", h->facts.destination.binary);
        json_add_int(o, "dev", (int64_t)st->st_dev);
        json_add_int(o, "ino", (int64_t)st->st_ino);
        json_add_int(o, "ctime", (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec);
        json_add_int(o, "size", (int64_t)st->st_size);
        return o;
}

static bool is_same_file(json_object *a, json_object *b)
{
        static const char *const numbers[] = {"dev", "ino", "ctime", "size"};

        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                if (json_int(a, numbers[i], -1) != json_int(b, numbers[i], -2))
                        return false;
        return true;
}

/* What an earlier handoff learnt about the very file that was opened; the caller's. NULL: nothing. */
static json_object *find_learnt(const struct handoff *h)
{
        json_object *known = json_arr(json_obj(h->order.json, "order"), "learnt");
        _cleanup_json_ json_object *file = describe_file(h);

        for (size_t i = 0; known && i < json_object_array_length(known); i++) {
                json_object *one = json_object_array_get_idx(known, i);

                if (is_same_file(file, one) && json_str(one, "version") && json_arr(one, "machines") &&
                    json_object_object_get_ex(one, "blockGraph", NULL))
                        return json_object_get(one);
        }
        return NULL;
}

/* Tells cprd now, so that others need not wait for the end of this handoff. */
static int tell_learnt(struct handoff *h, json_object *learnt, struct failure *f)
{
        json_object *fact = json_object_new_object();
        int r;

        json_add(fact, "learnt", json_object_get(learnt));
        r = journal_append(h->journal, "fact", fact);
        if (r < 0)
                return failure_set(f, r, "cannot write the journal: %s", strerror(-r));
        link_tell(&h->link, HANDOFF_RECORD, 0, 0, -EBADF);
        return 0;
}

/* ---- asking it ---- */

/* Nothing else would end it if this process were killed. */
static void die_with_parent(void *unused)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Starts it without a machine but with a QMP connection, as the source's twin. */
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
                                 .credentials = h->source.credentials,
                                 .binary = h->facts.destination.binary,
                                 .argv = argv,
                                 .fds = (struct launch_fd[]){{null, 0}, {null, 1}, {null, 2}, {its, 10}},
                                 .n_fds = 4,
                                 .in_child = die_with_parent},
                child, f);
        if (r < 0)
                return r;
        launch_go(child);
        return qmp_new(TAKE_FD(mine), &h->destination.qmp); /* where wait.c's loop looks for news */
}

/* The names and aliases of the machines it knows. */
static json_object *name_machines(json_object *machines)
{
        static const char *const keys[] = {"name", "alias"};
        json_object *names = json_object_new_array();

        for (size_t i = 0;
             json_object_is_type(machines, json_type_array) && i < json_object_array_length(machines); i++)
                for (size_t k = 0; k < ELEMENTSOF(keys); k++) {
                        const char *name = json_str(json_object_array_get_idx(machines, i), keys[k]);

                        if (name)
                                json_object_array_add(names, json_object_new_string(name));
                }
        return names;
}

static bool knows_cpr_transfer(json_object *schema)
{
        const char *text = schema ? json_object_to_json_string_ext(schema, JSON_C_TO_STRING_PLAIN) : "";

        return strstr(text, "\"cpr-transfer\"") != NULL;
}

/* A busy host answers slowly, which is no reason to refuse: each answer earns the next one the same time
 * again, and is a sign of life for cprd. */
static void be_patient(struct handoff *h)
{
        uint64_t until = now_usec() + ANSWER_USEC;

        if (h->step.deadline < until)
                h->step.deadline = until;
        link_tell(&h->link, HANDOFF_RECORD, 0, 0, -EBADF);
}

static int ask_one(struct handoff *h, const char *command, json_object **ret, struct failure *f)
{
        be_patient(h);
        return wait_qmp(h, h->destination.qmp, command, NULL, ret, f);
}

/* The experimental question that the source is asked before there is a destination: a QEMU of the binary has
 * to survive it first, with a node. *ret: whether it has answered. */
static int try_graph(struct handoff *h, bool *ret, struct failure *f)
{
        struct failure refused = {};
        int r;

        be_patient(h);
        r = wait_qmp(h, h->destination.qmp, "blockdev-add",
                     qmp_arguments("driver", "null-co", "node-name", "probe", NULL), NULL, &refused);
        if (r >= 0 || r == -EREMOTEIO)
                r = ask_one(h, "x-debug-query-block-graph", NULL, &refused);
        *ret = r >= 0;
        return r >= 0 || r == -EREMOTEIO ? 0 : failure_pass(f, &refused);
}

static int ask_all(struct handoff *h, json_object **ret, struct failure *f)
{
        _cleanup_json_ json_object *version = NULL, *machines = NULL, *schema = NULL;
        bool tells_graph = false;
        int r;

        be_patient(h);
        r = wait_greeting(h, h->destination.qmp, ANSWER_USEC, f);
        if (r >= 0)
                r = ask_one(h, "query-version", &version, f);
        if (r >= 0)
                r = ask_one(h, "query-machines", &machines, f);
        if (r >= 0)
                r = ask_one(h, "query-qmp-schema", &schema, f);
        if (r >= 0)
                r = try_graph(h, &tells_graph, f);
        if (r < 0)
                return r;
        *ret = describe_file(h);
        {
                _cleanup_free_ char *text = qmp_version_text(version);

                json_add_str(*ret, "version", text);
        }
        json_add(*ret, "machines", name_machines(machines));
        json_add_bool(*ret, "cprTransfer", knows_cpr_transfer(schema));
        json_add_bool(*ret, "blockGraph", tells_graph);
        return tell_learnt(h, *ret, f);
}

/* Starts it, queries it, and ends it. */
static int ask_binary(struct handoff *h, json_object **ret, struct failure *f)
{
        _cleanup_(launch_done) struct launched child = LAUNCHED_NULL;
        struct failure inner = {}, why = {};
        int r = run_binary(h, &child, &inner);

        if (r >= 0)
                r = ask_all(h, ret, &inner);
        if (child.process.pidfd >= 0) {
                pidfd_send_signal(child.process.pidfd, SIGKILL, NULL, 0);
                waitpid(child.process.pid, NULL, 0);
        }
        h->destination.qmp = qmp_free(h->destination.qmp);
        if (r < 0 && child.report >= 0)
                launch_report(&child, &why);
        return r < 0 ? failure_pass(f, why.error ? &why : &inner) : 0;
}

/* ---- the checks ---- */

static bool knows_machine(json_object *names, const char *name)
{
        for (size_t i = 0; i < json_object_array_length(names); i++)
                if (STREQ(json_object_get_string(json_object_array_get_idx(names, i)) ?: "", name))
                        return true;
        return false;
}

static void judge(struct handoff *h, json_object *learnt, struct findings *fs, const char *id)
{
        const char *version = h->facts.destination.version, *machine = h->facts.source.machine;

        if (!json_flag(learnt, "cprTransfer"))
                finding_block(fs, id, "use QEMU 10.0 or newer", "QEMU %s has no cpr-transfer", version);
        else if (!knows_machine(json_arr(learnt, "machines"), machine))
                finding_block(fs, id, "use a QEMU that still has this machine type",
                              "QEMU %s does not know the machine type %s", version, machine);
        else
                finding_pass(fs, id, "QEMU %s knows the machine %s", version, machine);
}

void check_binary_runs(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_json_ json_object *learnt = NULL;
        struct failure f = {};
        int r = 0;

        if (!h->destination.shield.slot.slot)
                return; /* not a binary that may be run */
        learnt = find_learnt(h);
        if (!learnt)
                r = ask_binary(h, &learnt, &f);
        if (r >= 0) {
                free(h->facts.destination.version);
                h->facts.destination.version = text_copy(json_str(learnt, "version"));
                h->destination.tells_graph = json_flag(learnt, "blockGraph");
                r = handoff_note(h, "destination", &f);
        }
        if (r >= 0)
                judge(h, learnt, fs, id);
        else if (r != -ECANCELED) /* which says nothing about the binary */
                finding_block(fs, id, "make sure that it runs on this host: try `-machine none -nodefaults`",
                              "%s does not start as a QEMU: %s", h->facts.destination.binary, f.what);
}
