/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-helper.h"

#include "common/file.h"
#include "daemon-fixture.h"
#include "daemon/helpers.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

size_t fake_started, fake_killed;
pid_t fake_source, fake_destination;
static enum deed deeds[2];
static pid_t children[64];
static size_t n_children;
static int word[2] = {-1, -1};

/* ---- in a child: nothing here may use the test's daemon ---- */

static void check(bool good)
{
        if (!good)
                _exit(9);
}

static void send_message(struct fake_helper *w, struct handoff_message m, int fd)
{
        check(handoff_send(w->socket, &m, fd) == 0);
}

void fake_hello(struct fake_helper *w, uint64_t again)
{
        struct handoff_message m = HANDOFF_MESSAGE(HANDOFF_HELLO, .role = HANDOFF_HELPER, .value = again);

        snprintf(m.name, sizeof(m.name), "%s", w->id);
        send_message(w, m, -EBADF);
}

static void take_order(struct fake_helper *w)
{
        struct handoff_message m = {};
        int fd;

        fake_hello(w, 0);
        while (m.op != HANDOFF_BEGIN) {
                struct failure f = {};

                check(handoff_receive(w->socket, &m, &fd, &f) == 1);
                if (m.op == HANDOFF_ORDER)
                        check(journal_open(fd, true, &w->journal, &f) == 0 && STREQ(m.name, w->id));
                w->has_source |= m.op == HANDOFF_PROCESS && m.role == HANDOFF_SOURCE;
                w->has_destination |= m.op == HANDOFF_PROCESS && m.role == HANDOFF_DESTINATION;
                if (m.op == HANDOFF_DEVICE) {
                        w->has_device = true;
                        w->cid = m.value;
                }
        }
        check(w->has_source);
}

static void report(struct fake_helper *w, const char *kind, const char *text)
{
        json_object *value = json_tokener_parse(text);

        check(value && journal_append(w->journal, kind, value) == 0);
        send_message(w, HANDOFF_MESSAGE(HANDOFF_RECORD), -EBADF);
}

void fake_finish(struct fake_helper *w, const char *outcome, int destination)
{
        report(w, "record",
               json_text("{'id': '%s', 'name': 'web1', 'caller': 'test', 'outcome': '%s', 'begun': 1,"
                         " 'elapsed': 2, 'stages': [], 'cid': 42,"
                         " 'findings': [{'id': 'x', 'severity': '%s', 'what': 'w'}],"
                         " 'destination': {'pid': %d, 'binary': '/new/qemu'}}",
                         w->id, outcome, STREQ(outcome, "refused") ? "blocker" : "passed", destination));
        send_message(w, HANDOFF_MESSAGE(HANDOFF_DONE), -EBADF);
}

static void progress(struct fake_helper *w, const char *stage)
{
        report(w, "progress",
               json_text("{'stage': '%s', 'undo': false, 'cancellable': %s, 'event': 'begin', 'since': 1}",
                         stage, STREQ(stage, "commit") ? "false" : "true"));
}

static void give_device(struct fake_helper *w, const char *path)
{
        int device = open(path, O_RDWR | O_CLOEXEC);

        check(device >= 0);
        send_message(w, HANDOFF_MESSAGE(HANDOFF_DEVICE, .value = 42), device);
}

static void give_destination(struct fake_helper *w)
{
        int process = pidfd_open(fake_destination, 0);

        check(process >= 0);
        send_message(w, HANDOFF_MESSAGE(HANDOFF_PROCESS, .role = HANDOFF_DESTINATION), process);
}

static void give_custody(struct fake_helper *w)
{
        give_device(w, "/dev/null");
        give_destination(w);
}

static void await_abort(struct fake_helper *w)
{
        struct handoff_message m;
        struct failure f = {};
        int fd;

        progress(w, "build");
        check(handoff_receive(w->socket, &m, &fd, &f) == 1 && m.op == HANDOFF_ABORT);
        fake_finish(w, "still_on_source", 0);
}

static void await_word(struct fake_helper *w)
{
        char c;

        progress(w, "build");
        give_destination(w);
        check(read(word[0], &c, 1) == 1);
        fake_finish(w, "updated", fake_destination);
}

static void finish(struct fake_helper *w, const char *outcome)
{
        progress(w, "identify");
        report(w, "fact", json_text("{'source': {'cid': 42, 'binary': '/old/qemu'}}"));
        report(w, "fact", json_text("{'source': {'version': '1.2.3'}}"));
        give_custody(w);
        progress(w, "commit");
        report(w, "fact", json_text("{'committed': true}"));
        fake_finish(w, outcome, fake_destination);
}

static void strange_record(struct fake_helper *w)
{
        char outcome[2001];

        memset(outcome, 'x', sizeof(outcome) - 1);
        outcome[sizeof(outcome) - 1] = '\0';
        report(w, "record", json_text("{'outcome': '%s', 'id': '../../x', 'name': 7}", outcome));
        send_message(w, HANDOFF_MESSAGE(HANDOFF_DONE), -EBADF);
}

static void do_deed(struct fake_helper *w, enum deed deed)
{
        switch (deed) {
        case NEVER:
        case DIE:
                _exit(0);
        case DIE_LATE:
                progress(w, "claim");
                give_custody(w);
                _exit(0);
        case ROLL_BACK:
                check(w->has_destination && w->has_device && w->cid == 42);
                return fake_finish(w, "still_on_source", 0);
        case REFUSE:
                return fake_finish(w, "refused", 0);
        case PASS:
                return fake_finish(w, "checked", 0);
        case WAIT_ABORT:
                return await_abort(w);
        case WRONG_DEVICE:
                give_device(w, "/dev/zero");
                return await_word(w);
        case LEARN:
                report(w, "fact",
                       json_text("{'learnt': {'path': '/old/qemu', 'dev': 1, 'ino': 2, 'version': '9'}}"));
                return await_word(w);
        case WAIT_WORD:
                return await_word(w);
        case STRANGE_RECORD:
                return strange_record(w);
        case STRANDED:
                return finish(w, "needs_operator");
        case FINISH:
                return finish(w, "updated");
        }
}

static void helper_main(struct fake_helper *w, enum deed deed)
{
        char c;

        take_order(w);
        do_deed(w, deed);
        /* After DONE, cprd closes the connection. */
        check(read(w->socket, &c, 1) <= 0);
        _exit(0);
}

/* ---- in the test ---- */

static int start(void *unused, const char *id, struct failure *f)
{
        enum deed deed = deeds[fake_started < 2 ? fake_started : 1];
        int fds[2];
        pid_t pid;

        fake_started++;
        if (deed == NEVER)
                return failure_set(f, ENOENT, "there is no such unit");
        EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
        pid = fork();
        EXPECT(pid >= 0 && n_children < ELEMENTSOF(children));
        if (pid == 0) {
                struct fake_helper w = {.socket = fds[1]};

                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(fds[0]);
                snprintf(w.id, sizeof(w.id), "%s", id);
                helper_main(&w, deed);
        }
        children[n_children++] = pid;
        close(fds[1]);
        EXPECT(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
        EXPECT_INT(helpers_adopt(&d.helpers, fds[0]), 0);
        return 0;
}

static int kill_one(void *unused, const char *id)
{
        fake_killed++;
        return 0;
}

const struct queue_starter fake_starter = {.start = start, .kill = kill_one};

void fake_begin(enum deed first, enum deed second)
{
        if (word[0] < 0)
                EXPECT(pipe(word) == 0);
        fake_source = qemu_start();
        fake_destination = qemu_start();
        deeds[0] = first;
        deeds[1] = second;
        fake_started = fake_killed = 0;
        register_vm("web1", fake_source);
}

void fake_go_on(void)
{
        EXPECT_INT(write(word[1], "!", 1), 1);
}

void fake_forget(void)
{
        for (; n_children > 0; n_children--) {
                kill(children[n_children - 1], SIGKILL);
                EXPECT_INT(waitpid(children[n_children - 1], NULL, 0), children[n_children - 1]);
        }
}

static bool nothing_in_flight(void)
{
        return !d.queue.jobs;
}

/* The directory of a job is there while it is in flight. */
size_t fake_count_directories(void)
{
        struct stat st;

        EXPECT(stat(d.queue.directory, &st) == 0);
        return st.st_nlink - 2;
}

void fake_end(void)
{
        turn_until(nothing_in_flight);
        EXPECT_INT(fake_count_directories(), 0);
        unregister_vm("web1");
        qemu_kill(fake_source);
        qemu_kill(fake_destination);
        while (n_children > 0) {
                int status;

                EXPECT_INT(waitpid(children[--n_children], &status, 0), children[n_children]);
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                        FAIL("a cprd-handoff ended with status %x", status);
        }
}

json_object *fake_receive_record(struct varlink *v)
{
        for (;;) {
                _cleanup_json_ json_object *reply = caller_receive(v);
                json_object *record;

                EXPECT(reply);
                if (json_str(reply, "error"))
                        FAIL("%s", json_object_to_json_string(reply));
                record = json_obj(json_obj(reply, "parameters"), "record");
                if (record)
                        return json_object_get(record);
                EXPECT(json_flag(reply, "continues"));
        }
}
