/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The whole daemon in one process, without systemd: callers over socketpairs, processes that are called like
 * a QEMU, and cprd-handoffs that are children of this test, speak the handoff socket's protocol, and do as
 * they are told: finish, or die.
 */
#include "common/file.h"
#include "daemon/daemon.h"
#include "daemon/handoffs.h"
#include "daemon/helpers.h"
#include "daemon/server.h"
#include "daemon/vm.h"
#include "proto/handoff.h"
#include "proto/varlink.h"
#include "test.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

static char directory[] = "/tmp/cprd-test-daemon-XXXXXX";
static char *runtime, *state, *config_path, *qmp_path;
static struct daemon d;

/* What the next cprd-handoffs do, in turn; the last one again and again. */
enum deed {
        FINISH,     /* updated, to destination_pid */
        REFUSE,     /* refused, with a finding */
        DIE,        /* after HELLO */
        DIE_LATE,   /* after having put a device and a destination into custody */
        ROLL_BACK,  /* expects what DIE_LATE left, and recovers */
        WAIT_ABORT, /* until somebody cancels */
        NEVER,      /* does not start */
        WAIT_WORD,  /* goes on when told by go_on() */
};
static enum deed deeds[8];
static size_t n_deeds, n_started, n_killed;
static pid_t destination_pid;
static int word[2] = {-1, -1}; /* a pipe: go_on() */

/* ---- processes ---- */

static pid_t qemu_start(void)
{
        int ready[2];
        pid_t pid;
        char c;

        EXPECT(pipe(ready) == 0);
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                prctl(PR_SET_NAME, "qemu-system-x86");
                if (write(ready[1], "!", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        EXPECT_INT(read(ready[0], &c, 1), 1);
        close(ready[0]);
        close(ready[1]);
        return pid;
}

static void qemu_kill(pid_t pid)
{
        EXPECT(kill(pid, SIGKILL) == 0);
        EXPECT_INT(waitpid(pid, NULL, 0), pid);
}

/* ---- the helper, in a child: nothing here may use the test's daemon ---- */

struct helper_world {
        int socket;
        char id[64];
        struct journal *journal;
        bool has_source, has_destination, has_device;
        uint64_t cid;
};

static void helper_check(bool good)
{
        if (!good)
                _exit(9);
}

static void helper_send(struct helper_world *w, struct handoff_message m, int fd)
{
        helper_check(handoff_send(w->socket, &m, fd) == 0);
}

static void helper_hello(struct helper_world *w, uint64_t again)
{
        struct handoff_message m = HANDOFF_MESSAGE(HANDOFF_HELLO, .role = HANDOFF_HELPER, .value = again);

        snprintf(m.name, sizeof(m.name), "%s", w->id);
        helper_send(w, m, -EBADF);
}

static void helper_order(struct helper_world *w)
{
        struct handoff_message m = {};
        int fd;

        helper_hello(w, 0);
        while (m.op != HANDOFF_BEGIN) {
                struct failure f = {};

                helper_check(handoff_receive(w->socket, &m, &fd, &f) == 1);
                if (m.op == HANDOFF_ORDER)
                        helper_check(journal_open(fd, true, &w->journal, &f) == 0 && STREQ(m.name, w->id));
                w->has_source |= m.op == HANDOFF_PROCESS && m.role == HANDOFF_SOURCE;
                w->has_destination |= m.op == HANDOFF_PROCESS && m.role == HANDOFF_DESTINATION;
                if (m.op == HANDOFF_DEVICE) {
                        w->has_device = true;
                        w->cid = m.value;
                }
        }
        helper_check(w->has_source);
}

static void helper_write(struct helper_world *w, const char *kind, const char *text)
{
        json_object *value = json_tokener_parse(text);

        helper_check(value && journal_append(w->journal, kind, value) == 0);
        helper_send(w, HANDOFF_MESSAGE(HANDOFF_RECORD), -EBADF);
}

static void helper_end(struct helper_world *w, const char *outcome, int destination)
{
        char text[512];

        snprintf(
                text, sizeof(text),
                "{\"id\":\"%s\",\"name\":\"web1\",\"caller\":\"test\",\"outcome\":\"%s\",\"begun\":1,\"elapsed\":2,"
                "\"stages\":[],\"findings\":[{\"id\":\"x\",\"severity\":\"%s\",\"what\":\"w\"}],\"cid\":42,"
                "\"destination\":{\"pid\":%d,\"binary\":\"/new/qemu\"}}",
                w->id, outcome, STREQ(outcome, "refused") ? "blocker" : "passed", destination);
        helper_write(w, "record", text);
        helper_send(w, HANDOFF_MESSAGE(HANDOFF_DONE), -EBADF);
}

static void helper_progress(struct helper_world *w, const char *stage)
{
        char text[256];

        snprintf(text, sizeof(text), "{\"stage\":\"%s\",\"undo\":false,\"event\":\"begin\",\"since\":1}",
                 stage);
        helper_write(w, "progress", text);
}

static void helper_custody(struct helper_world *w)
{
        int device = open("/dev/null", O_RDWR), process = (int)pidfd_open(destination_pid, 0);

        helper_check(device >= 0 && process >= 0);
        helper_send(w, HANDOFF_MESSAGE(HANDOFF_DEVICE, .value = 42), device);
        helper_send(w, HANDOFF_MESSAGE(HANDOFF_PROCESS, .role = HANDOFF_DESTINATION), process);
}

static void helper_await_abort(struct helper_world *w)
{
        struct handoff_message m;
        struct failure f = {};
        int fd;

        helper_progress(w, "build");
        helper_check(handoff_receive(w->socket, &m, &fd, &f) == 1 && m.op == HANDOFF_ABORT);
        helper_end(w, "still_on_source", 0);
}

static void helper_main(struct helper_world *w, enum deed deed)
{
        char c;

        helper_order(w);
        switch (deed) {
        case DIE:
                _exit(0);
        case DIE_LATE:
                helper_progress(w, "claim");
                helper_custody(w);
                _exit(0);
        case ROLL_BACK:
                helper_check(w->has_destination && w->has_device && w->cid == 42);
                helper_end(w, "still_on_source", 0);
                break;
        case REFUSE:
                helper_end(w, "refused", 0);
                break;
        case WAIT_ABORT:
                helper_await_abort(w);
                break;
        case WAIT_WORD:
                helper_progress(w, "build");
                helper_check(read(word[0], &c, 1) == 1);
                helper_end(w, "updated", destination_pid);
                break;
        default:
                helper_progress(w, "identify");
                helper_write(w, "fact", "{\"source\":{\"cid\":42,\"binary\":\"/old/qemu\"}}");
                helper_write(w, "fact", "{\"source\":{\"version\":\"1.2.3\"}}");
                helper_progress(w, "commit");
                helper_custody(w);
                helper_end(w, "updated", destination_pid);
        }
        /* DONE is followed by cprd's closing. */
        helper_check(read(w->socket, &c, 1) <= 0);
        _exit(0);
}

static int start_helper(struct daemon *unused, const char *id, struct failure *f)
{
        enum deed deed = deeds[n_started < n_deeds ? n_started : n_deeds - 1];
        int fds[2];
        pid_t pid;

        n_started++;
        if (deed == NEVER)
                return failure_set(f, ENOENT, "there is no such unit");
        EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
                struct helper_world w = {.socket = fds[1]};

                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(fds[0]);
                snprintf(w.id, sizeof(w.id), "%s", id);
                helper_main(&w, deed);
        }
        close(fds[1]);
        EXPECT(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
        EXPECT_INT(helpers_adopt(&d, fds[0]), 0);
        return 0;
}

static int kill_helper(struct daemon *unused, const char *id)
{
        n_killed++;
        return 0;
}

/* What went wrong in a child shows here. */
static void reap_helpers(void)
{
        int status;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                        FAIL("helper %d ended with status %x", pid, status);
}

static void plan(enum deed first, enum deed second)
{
        deeds[0] = first;
        deeds[1] = second;
        n_deeds = 2;
        n_started = n_killed = 0;
}

/* ---- the daemon, and callers ---- */

static void daemon_start(void)
{
        struct failure f = {};
        struct config config;

        EXPECT_INT(config_load(&config, config_path, &f), 0);
        if (daemon_init(&d, runtime, state, &config, &f) < 0)
                FAIL("%s", f.what);
        d.helper_start = start_helper;
        d.helper_kill = kill_helper;
        EXPECT_INT(helpers_listen(&d, &f), 0);
        EXPECT_INT(server_listen(&d, &f), 0);
        handoffs_resume(&d);
}

static void turn(void)
{
        EXPECT(sd_event_run(d.event, 20 * USEC_PER_MSEC) >= 0);
}

static struct varlink *caller_new(void)
{
        struct varlink *v;
        int fds[2];

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        EXPECT_INT(server_adopt(&d, fds[0]), 0);
        EXPECT_INT(varlink_new(fds[1], &v), 0);
        return v;
}

static void caller_send(struct varlink *v, const char *method, const char *parameters, bool more)
{
        _cleanup_json_ json_object *call = varlink_call(method, json_tokener_parse(parameters), more);

        EXPECT_INT(varlink_queue(v, call, -EBADF), 0);
        EXPECT_INT(varlink_flush(v), 0);
}

/* The next message; NULL: the connection was closed. */
static json_object *caller_receive(struct varlink *v)
{
        uint64_t until = now_usec() + 10 * USEC_PER_SEC;
        json_object *message;

        while (now_usec() < until) {
                int r = varlink_next(v, &message, NULL);

                EXPECT(r >= 0);
                if (r > 0)
                        return message;
                turn();
                r = varlink_fill(v, NULL);
                if (r == 0 || r == -ECONNRESET)
                        return NULL;
        }
        FAIL("no reply within 10 s");
}

/* Calls, and returns {"error"?, "parameters"}. */
static json_object *call(const char *method, const char *parameters)
{
        struct varlink *v = caller_new();
        json_object *reply;

        caller_send(v, method, parameters, false);
        reply = caller_receive(v);
        EXPECT(reply);
        varlink_free(v);
        return reply;
}

static void expect_error(const char *method, const char *parameters, const char *error)
{
        _cleanup_json_ json_object *reply = call(method, parameters);

        EXPECT_STR(json_str(reply, "error") ?: "none", error);
}

static void expect_done(const char *method, const char *parameters)
{
        _cleanup_json_ json_object *reply = call(method, parameters);

        if (json_str(reply, "error"))
                FAIL("%s: %s", method, json_object_to_json_string(reply));
}

static void register_vm(const char *name, pid_t pid)
{
        char text[256];

        snprintf(text, sizeof(text), "{\"name\":\"%s\",\"pid\":%d,\"qmp\":\"%s\"}", name, pid, qmp_path);
        expect_done("io.cprd.Register", text);
}

static json_object *describe(const char *name)
{
        char text[128];
        json_object *reply, *vm;

        snprintf(text, sizeof(text), "{\"name\":\"%s\"}", name);
        reply = call("io.cprd.Describe", text);
        vm = json_obj(json_obj(reply, "parameters"), "vm");
        EXPECT(vm);
        json_object_get(vm);
        json_object_put(reply);
        return vm;
}

static void expect_state(const char *name, const char *wanted)
{
        uint64_t until = now_usec() + 5 * USEC_PER_SEC;

        for (;;) {
                _cleanup_json_ json_object *vm = describe(name);

                if (STREQ(json_str(vm, "state"), wanted))
                        return;
                if (now_usec() > until)
                        FAIL("%s is %s, expected %s", name, json_str(vm, "state"), wanted);
                turn();
        }
}

/* The outcome of a Handoff that was asked for over @v. */
static json_object *receive_record(struct varlink *v)
{
        for (;;) {
                json_object *reply = caller_receive(v), *record;

                EXPECT(reply);
                if (json_str(reply, "error"))
                        FAIL("%s", json_object_to_json_string(reply));
                record = json_obj(json_obj(reply, "parameters"), "record");
                if (record) {
                        json_object_get(record);
                        json_object_put(reply);
                        return record;
                }
                EXPECT(json_flag(reply, "continues"));
                json_object_put(reply);
        }
}

/* Takes the directory of a handoff for granted only while it is in flight. */
static size_t count_handoffs(void)
{
        _cleanup_free_ char *path = file_path(runtime, "handoffs");
        struct stat st;

        EXPECT(stat(path, &st) == 0);
        return st.st_nlink - 2;
}

static pid_t source_pid;

static void begin(enum deed first, enum deed second)
{
        source_pid = qemu_start();
        destination_pid = qemu_start();
        plan(first, second);
        register_vm("web1", source_pid);
}

static void end(void)
{
        uint64_t until = now_usec() + 5 * USEC_PER_SEC;

        while (d.handoffs && now_usec() < until)
                turn();
        EXPECT(!d.handoffs);
        EXPECT_INT(count_handoffs(), 0);
        expect_done("io.cprd.Unregister", "{\"name\":\"web1\"}");
        qemu_kill(source_pid);
        qemu_kill(destination_pid);
        usleep(20 * USEC_PER_MSEC);
        reap_helpers();
}

/* ---- tests ---- */

static void service(void)
{
        _cleanup_json_ json_object *info = call("org.varlink.service.GetInfo", "{}");
        _cleanup_json_ json_object *text =
                call("org.varlink.service.GetInterfaceDescription", "{\"interface\":\"io.cprd\"}");

        EXPECT_STR(json_str(json_obj(info, "parameters"), "product"), "cprd");
        EXPECT_STR(json_str(json_obj(info, "parameters"), "version"), CPRD_VERSION);
        EXPECT(strstr(json_str(json_obj(text, "parameters"), "description"), "interface io.cprd"));
        expect_error("org.varlink.service.GetInterfaceDescription", "{\"interface\":\"io.nobody\"}",
                     "org.varlink.service.InterfaceNotFound");
        expect_error("org.varlink.service.Nothing", "{}", "org.varlink.service.MethodNotFound");
        expect_error("io.cprd.Nothing", "{}", "org.varlink.service.MethodNotFound");
        expect_error("io.nobody.List", "{}", "org.varlink.service.InterfaceNotFound");
        expect_error("List", "{}", "org.varlink.service.InterfaceNotFound");
}

static void parameters(void)
{
        static const char invalid[] = "org.varlink.service.InvalidParameter";

        expect_error("io.cprd.Describe", "{}", invalid);
        expect_error("io.cprd.Describe", "{\"name\":1}", invalid);
        expect_error("io.cprd.Describe", "{\"name\":null}", invalid);
        expect_error("io.cprd.Describe", "{\"name\":\"x\",\"y\":1}", invalid);
        expect_error("io.cprd.Describe", "{\"name\":\"x\\u0000y\"}", invalid);
        expect_error("io.cprd.Register", "{\"name\":\"../x\",\"pid\":1,\"qmp\":\"/x\"}", invalid);
        expect_error("io.cprd.Register", "{\"name\":\"x\",\"pid\":0,\"qmp\":\"/x\"}", invalid);
        expect_error("io.cprd.Register", "{\"name\":\"x\",\"pid\":99999999999,\"qmp\":\"/x\"}", invalid);
        expect_error("io.cprd.Probe", "{\"binaries\":[1]}", invalid);
        expect_error("io.cprd.Describe", "{\"name\":\"nobody\"}", "io.cprd.NoSuchVm");
        expect_error("io.cprd.History", "{\"id\":\"nobody\"}", "io.cprd.NoSuchRecord");
}

static void bad_callers(void)
{
        static const char *const messages[] = {
                "[]", "{", "{}", "{\"method\":1}", "{\"method\":\"io.cprd.List\",\"parameters\":[]}", "\xff",
        };

        for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
                struct varlink *v = caller_new();

                EXPECT(send(varlink_fd(v), messages[i], strlen(messages[i]) + 1, 0) > 0);
                if (caller_receive(v))
                        FAIL("%s got a reply", messages[i]);
                varlink_free(v);
        }
        expect_done("io.cprd.List", "{}");
}

/* Calls sent at once are answered in their order; one that wants no answer gets none. */
static void pipelined(void)
{
        static const char text[] = "{\"method\":\"io.cprd.List\",\"oneway\":true}\0"
                                   "{\"method\":\"io.cprd.Nothing\"}\0"
                                   "{\"method\":\"io.cprd.List\",\"parameters\":{}}";
        struct varlink *v = caller_new();
        json_object *reply;

        EXPECT(send(varlink_fd(v), text, sizeof(text), 0) > 0);
        EXPECT(shutdown(varlink_fd(v), SHUT_WR) == 0);
        reply = caller_receive(v);
        EXPECT_STR(json_str(reply, "error"), "org.varlink.service.MethodNotFound");
        json_object_put(reply);
        reply = caller_receive(v);
        EXPECT(json_arr(json_obj(reply, "parameters"), "vms"));
        json_object_put(reply);
        EXPECT(!caller_receive(v));
        varlink_free(v);
}

static void registry(void)
{
        pid_t pid = qemu_start();
        _cleanup_json_ json_object *vm = NULL;
        char text[256];

        register_vm("web1", pid);
        snprintf(text, sizeof(text), "{\"name\":\"web1\",\"pid\":%d,\"qmp\":\"%s\"}", pid, qmp_path);
        expect_error("io.cprd.Register", text, "io.cprd.VmExists");
        snprintf(text, sizeof(text), "{\"name\":\"web2\",\"pid\":%d,\"qmp\":\"%s\"}", pid, qmp_path);
        expect_error("io.cprd.Register", text, "io.cprd.NotUsable");
        snprintf(text, sizeof(text), "{\"name\":\"web2\",\"pid\":%d,\"qmp\":\"%s\"}", getpid(), qmp_path);
        expect_error("io.cprd.Register", text, "io.cprd.NotUsable");
        snprintf(text, sizeof(text), "{\"name\":\"web2\",\"pid\":%d,\"qmp\":\"/nonexistent\"}", pid);
        expect_error("io.cprd.Register", text, "io.cprd.NotUsable");
        vm = describe("web1");
        EXPECT_INT(json_int(vm, "pid", 0), pid);
        EXPECT_STR(json_str(vm, "state"), "running");
        EXPECT_STR(json_str(vm, "qmp"), qmp_path);

        /* A restart forgets nothing; nor does it take another process for it. */
        daemon_done(&d);
        daemon_start();
        expect_state("web1", "running");
        qemu_kill(pid);
        expect_state("web1", "gone");
        daemon_done(&d);
        daemon_start();
        expect_state("web1", "gone");
        expect_error("io.cprd.Handoff", "{\"name\":\"web1\"}", "io.cprd.NotUsable");

        /* The name of one that is gone is free. */
        pid = qemu_start();
        register_vm("web1", pid);
        expect_state("web1", "running");
        expect_done("io.cprd.Unregister", "{\"name\":\"web1\"}");
        expect_error("io.cprd.Describe", "{\"name\":\"web1\"}", "io.cprd.NoSuchVm");
        qemu_kill(pid);
}

static void recycled_pid(void)
{
        pid_t pid = qemu_start();
        _cleanup_free_ char *path = file_path(runtime, "vms/old.json");
        char text[256];

        snprintf(text, sizeof(text),
                 "{\"name\":\"old\",\"pid\":%d,\"startTime\":1,\"qmp\":\"/x\",\"binary\":\"/q\"}", pid);
        EXPECT_INT(file_write(path, text, 0600), 0);
        daemon_done(&d);
        daemon_start();
        expect_state("old", "gone");
        expect_done("io.cprd.Unregister", "{\"name\":\"old\"}");
        qemu_kill(pid);
}

static void handoff_updated(void)
{
        _cleanup_json_ json_object *record = NULL, *vm = NULL, *history = NULL;
        struct varlink *v = caller_new();
        json_object *reply, *first, *about;
        char text[128];

        begin(FINISH, FINISH);
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        reply = caller_receive(v);
        EXPECT(json_flag(reply, "continues"));
        snprintf(text, sizeof(text), "{\"id\":\"%s\"}", json_str(json_obj(reply, "parameters"), "id"));
        json_object_put(reply);
        reply = caller_receive(v);
        EXPECT_STR(json_str(json_obj(json_obj(reply, "parameters"), "progress"), "stage"), "identify");
        json_object_put(reply);
        reply = caller_receive(v);
        about = json_obj(json_obj(reply, "parameters"), "about");
        EXPECT_INT(json_int(about, "cid", 0), 42);
        EXPECT_STR(json_str(json_obj(about, "source"), "version"), "1.2.3");
        EXPECT_STR(json_str(json_obj(about, "destination"), "binary"), "/old/qemu");
        json_object_put(reply);
        record = receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "updated");
        EXPECT(json_int(record, "time", 0) > 0);
        vm = describe("web1");
        EXPECT_INT(json_int(vm, "pid", 0), destination_pid);
        EXPECT_STR(json_str(vm, "binary"), "/new/qemu");
        EXPECT_INT(json_int(vm, "cid", 0), 42);
        EXPECT_STR(json_str(vm, "state"), "running");
        EXPECT_STR(json_str(vm, "lastHandoff"), json_str(record, "id"));
        history = call("io.cprd.History", text);
        first = json_object_array_get_idx(json_arr(json_obj(history, "parameters"), "records"), 0);
        EXPECT_STR(json_str(first, "id"), json_str(record, "id"));
        varlink_free(v);
        end();
}

static void check_refused(void)
{
        _cleanup_json_ json_object *reply = NULL, *history = NULL;

        begin(REFUSE, REFUSE);
        reply = call("io.cprd.Check", "{\"name\":\"web1\"}");
        EXPECT(!json_str(reply, "error"));
        EXPECT(!json_flag(json_obj(reply, "parameters"), "passed"));
        EXPECT_INT(json_object_array_length(json_arr(json_obj(reply, "parameters"), "findings")), 1);
        history = call("io.cprd.History", "{\"name\":\"web1\"}");
        for (size_t i = 0; i < json_object_array_length(json_arr(json_obj(history, "parameters"), "records"));
             i++)
                EXPECT(!STREQ("refused",
                              json_str(json_object_array_get_idx(
                                               json_arr(json_obj(history, "parameters"), "records"), i),
                                       "outcome")));
        end();
}

static void binary_not_allowed(void)
{
        begin(FINISH, FINISH);
        expect_error("io.cprd.Handoff", "{\"name\":\"web1\",\"binary\":\"/tmp/qemu\"}", "io.cprd.NotUsable");
        expect_error("io.cprd.Check",
                     "{\"name\":\"web1\",\"binary\":\"/usr/bin/../../tmp/qemu-system-x86_64\"}",
                     "io.cprd.NotUsable");
        expect_error("io.cprd.Handoff", "{\"name\":\"web1\",\"maxPause\":0}",
                     "org.varlink.service.InvalidParameter");
        expect_error("io.cprd.Handoff", "{\"name\":\"web1\",\"strategy\":\"magic\"}",
                     "org.varlink.service.InvalidParameter");
        EXPECT_INT(n_started, 0);
        end();
}

static void helper_dies_once(void)
{
        _cleanup_json_ json_object *record = NULL;
        struct varlink *v = caller_new();

        begin(DIE_LATE, ROLL_BACK);
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        record = receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "still_on_source");
        EXPECT_INT(n_started, 2);
        varlink_free(v);
        end();
}

static void expect_given_up(int first, const char *outcome)
{
        _cleanup_json_ json_object *record = NULL;
        struct varlink *v = caller_new();

        begin(first, DIE);
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        record = receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), outcome);
        EXPECT(json_str(record, "remedy"));
        EXPECT_INT(n_started, 5);
        varlink_free(v);
        end();
}

/* Whether it had begun makes the difference. */
static void helper_dies_always(void)
{
        expect_given_up(DIE, "refused");
        expect_given_up(DIE_LATE, "needs_operator");
}

static void helper_never_starts(void)
{
        _cleanup_json_ json_object *reply = NULL;

        begin(NEVER, NEVER);
        reply = call("io.cprd.Check", "{\"name\":\"web1\"}");
        EXPECT_STR(json_str(reply, "error"), "io.cprd.Failed");
        EXPECT_STR(json_str(json_obj(reply, "parameters"), "what"), "there is no such unit");
        end();
}

static void busy_and_cancel(void)
{
        _cleanup_json_ json_object *record = NULL;
        struct varlink *v = caller_new();
        json_object *reply;

        begin(WAIT_ABORT, WAIT_ABORT);
        expect_error("io.cprd.Cancel", "{\"name\":\"web1\"}", "io.cprd.NotCancellable");
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        reply = caller_receive(v);
        json_object_put(reply);
        expect_state("web1", "handoff");
        expect_error("io.cprd.Handoff", "{\"name\":\"web1\"}", "io.cprd.Busy");
        expect_error("io.cprd.Check", "{\"name\":\"web1\"}", "io.cprd.Busy");
        expect_error("io.cprd.Unregister", "{\"name\":\"web1\"}", "io.cprd.Busy");
        expect_done("io.cprd.Cancel", "{\"name\":\"web1\"}");
        record = receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "still_on_source");
        varlink_free(v);
        end();
}

/* The handoff does not need its caller; its end is had by its id. */
static void caller_goes_away(void)
{
        _cleanup_json_ json_object *history = NULL;
        struct varlink *v = caller_new();
        json_object *reply;
        char text[128];

        begin(WAIT_WORD, FINISH);
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        reply = caller_receive(v);
        snprintf(text, sizeof(text), "{\"id\":\"%s\"}", json_str(json_obj(reply, "parameters"), "id"));
        json_object_put(reply);
        varlink_free(v);
        for (int i = 0; i < 5; i++)
                turn();
        EXPECT(d.handoffs);
        v = caller_new();
        caller_send(v, "io.cprd.History", text, false);
        EXPECT_INT(write(word[1], "!", 1), 1);
        history = caller_receive(v);
        EXPECT_INT(json_object_array_length(json_arr(json_obj(history, "parameters"), "records")), 1);
        varlink_free(v);
        end();
}

/* One at a time: the second waits for the first, and can be called off meanwhile. */
static void queue(void)
{
        _cleanup_json_ json_object *one = NULL, *two = NULL;
        struct varlink *v = caller_new(), *w = caller_new();
        pid_t other = qemu_start();

        begin(WAIT_WORD, FINISH);
        register_vm("web2", other);
        d.config.handoffs = 1;
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        expect_state("web1", "handoff");
        caller_send(w, "io.cprd.Handoff", "{\"name\":\"web2\"}", true);
        expect_state("web2", "handoff");
        EXPECT_INT(n_started, 1);
        expect_done("io.cprd.Cancel", "{\"name\":\"web2\"}");
        two = receive_record(w);
        EXPECT_STR(json_str(two, "outcome"), "still_on_source");
        EXPECT_INT(n_started, 1);
        json_object_put(two);
        caller_send(w, "io.cprd.Handoff", "{\"name\":\"web2\"}", true);
        expect_state("web2", "handoff");
        EXPECT_INT(write(word[1], "!", 1), 1);
        one = receive_record(v);
        two = receive_record(w);
        EXPECT_STR(json_str(one, "outcome"), "updated");
        EXPECT_INT(n_started, 2);
        d.config.handoffs = 4;
        varlink_free(v);
        varlink_free(w);
        expect_done("io.cprd.Unregister", "{\"name\":\"web2\"}");
        qemu_kill(other);
        end();
}

/* cprd goes and comes back; the cprd-handoff is there still, and says so. */
static void restart(void)
{
        _cleanup_json_ json_object *history = NULL;
        struct varlink *v = caller_new();
        struct helper_world w = {};
        char text[128];
        int fds[2], fd;

        begin(WAIT_WORD, FINISH);
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        json_object_put(caller_receive(v));
        snprintf(w.id, sizeof(w.id), "%s", d.handoffs->id);
        for (int i = 0; i < 5; i++)
                turn();
        varlink_free(v);
        daemon_done(&d);
        EXPECT_INT(count_handoffs(), 1);
        daemon_start();
        EXPECT(d.handoffs && STREQ(d.handoffs->id, w.id));
        expect_state("web1", "handoff");

        /* This test is the helper that comes back. */
        EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
        EXPECT(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
        EXPECT_INT(helpers_adopt(&d, fds[0]), 0);
        w.socket = fds[1];
        helper_hello(&w, 1);
        for (int i = 0; i < 5; i++)
                turn();
        EXPECT_INT(d.handoffs->state, HANDOFF_RUNNING);
        EXPECT_STR(d.handoffs->stage, "build");
        fd = handoff_open_journal(d.handoffs, true);
        EXPECT_INT(journal_open(fd, true, &w.journal, NULL), 0);
        snprintf(text, sizeof(text), "{\"id\":\"%s\"}", w.id);
        v = caller_new();
        caller_send(v, "io.cprd.History", text, false);
        helper_end(&w, "updated", destination_pid);
        history = caller_receive(v);
        EXPECT_STR(
                json_str(json_object_array_get_idx(json_arr(json_obj(history, "parameters"), "records"), 0),
                         "outcome"),
                "updated");
        varlink_free(v);
        journal_free(w.journal);
        close(fds[1]);
        EXPECT_INT(n_started, 1);
        /* The first helper of this test is still waiting for its word; cprd is gone for it. */
        EXPECT_INT(write(word[1], "!", 1), 1);
        usleep(100 * USEC_PER_MSEC);
        while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        end();
}

/* cprd goes and comes back, and nobody is there any more: another one takes over. */
static void restart_alone(void)
{
        struct varlink *v = caller_new();
        _cleanup_json_ json_object *history = NULL;
        char text[128];

        begin(DIE_LATE, FINISH);
        caller_send(v, "io.cprd.Handoff", "{\"name\":\"web1\"}", true);
        json_object_put(caller_receive(v));
        snprintf(text, sizeof(text), "{\"id\":\"%s\"}", d.handoffs->id);
        daemon_done(&d);
        varlink_free(v);
        daemon_start();
        handoff_helper_absent(d.handoffs); /* as systemd says */
        v = caller_new();
        caller_send(v, "io.cprd.History", text, false);
        history = caller_receive(v);
        EXPECT_STR(
                json_str(json_object_array_get_idx(json_arr(json_obj(history, "parameters"), "records"), 0),
                         "outcome"),
                "updated");
        varlink_free(v);
        while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        end();
}

/* A journal that was hardly begun, and one that ended while cprd was away. */
static void leftovers(void)
{
        _cleanup_free_ char *empty = file_path(runtime, "handoffs/aaaaaa"),
                            *journal = file_path(runtime, "handoffs/aaaaaa/journal"),
                            *ended = file_path(runtime, "handoffs/bbbbbb"),
                            *ended_journal = file_path(runtime, "handoffs/bbbbbb/journal"),
                            *socket_path = file_path(runtime, "handoffs/bbbbbb/channel");
        _cleanup_json_ json_object *history = NULL;

        daemon_done(&d);
        EXPECT(mkdir(empty, 0700) == 0 && mkdir(ended, 0700) == 0 && mkdir(socket_path, 0700) == 0);
        EXPECT_INT(file_write(journal, "{\"order\":{\"name\":\"web", 0600), 0);
        EXPECT_INT(
                file_write(
                        ended_journal,
                        "{\"order\":{\"name\":\"web9\",\"id\":\"bbbbbb\"}}\n"
                        "{\"record\":{\"id\":\"bbbbbb\",\"name\":\"web9\",\"outcome\":\"updated\"}}\n{\"pro",
                        0600),
                0);
        daemon_start();
        EXPECT_INT(count_handoffs(), 0);
        EXPECT(!d.handoffs);
        history = call("io.cprd.History", "{\"id\":\"bbbbbb\"}");
        EXPECT_INT(json_object_array_length(json_arr(json_obj(history, "parameters"), "records")), 1);
}

/* Somebody on the handoff socket who is no cprd-handoff. */
static void bad_helpers(void)
{
        static const struct handoff_message messages[] = {
                {.op = HANDOFF_DONE},
                {.op = HANDOFF_HELLO, .role = HANDOFF_HELPER, .name = "nobody"},
                {.op = HANDOFF_HELLO, .role = HANDOFF_VMM, .name = "web1"},
                {.op = 77},
        };

        for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
                int fds[2];
                char c;

                EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
                EXPECT_INT(helpers_adopt(&d, fds[0]), 0);
                EXPECT_INT(handoff_send(fds[1], &messages[i], -EBADF), 0);
                for (int j = 0; j < 5; j++)
                        turn();
                EXPECT_INT(recv(fds[1], &c, 1, 0), 0);
                close(fds[1]);
        }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void set_up(void)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        EXPECT(mkdtemp(directory));
        runtime = file_path(directory, "run");
        state = file_path(directory, "lib");
        config_path = file_path(directory, "cprd.conf");
        qmp_path = file_path(directory, "qmp");
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", qmp_path);
        EXPECT(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        close(fd);
        EXPECT(pipe(word) == 0);
        signal(SIGPIPE, SIG_IGN);
}

int main(void)
{
        set_up();
        daemon_start();
        TEST(service);
        TEST(parameters);
        TEST(bad_callers);
        TEST(pipelined);
        TEST(registry);
        TEST(recycled_pid);
        TEST(handoff_updated);
        TEST(check_refused);
        TEST(binary_not_allowed);
        TEST(helper_dies_once);
        TEST(helper_dies_always);
        TEST(helper_never_starts);
        TEST(busy_and_cancel);
        TEST(caller_goes_away);
        TEST(queue);
        TEST(restart);
        TEST(restart_alone);
        TEST(leftovers);
        TEST(bad_helpers);
        daemon_done(&d);
        EXPECT(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
        free(runtime);
        free(state);
        free(config_path);
        free(qmp_path);
        return 0;
}
