/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cprd goes and comes back while a handoff is in flight, and finds what earlier ones left. */
#include "common/file.h"
#include "daemon-fixture.h"
#include "daemon/job-journal.h"
#include "daemon/recovery.h"
#include "fake-helper.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define WEB1 json_text("{'name': 'web1'}")

static struct varlink *await_end(const char *id)
{
        struct varlink *v = caller_new();

        caller_send(v, "io.cprd.History", json_text("{'id': '%s'}", id), false);
        return v;
}

static void expect_outcome(struct varlink *v, const char *outcome)
{
        _cleanup_json_ json_object *reply = caller_receive(v);
        json_object *records = json_arr(json_obj(reply, "parameters"), "records");

        EXPECT(records);
        EXPECT_STR(json_str(json_object_array_get_idx(records, 0), "outcome"), outcome);
        varlink_free(v);
}

static bool is_running(void)
{
        return d.queue.jobs->state == JOB_RUNNING;
}

/* The cprd-handoff is still there, and says so. Here it is this test. */
static void helper_comes_back(void)
{
        struct fake_helper w = {};
        struct varlink *v = caller_new();
        int fds[2];

        fake_begin(WAIT_WORD, FINISH);
        caller_send(v, "io.cprd.Handoff", WEB1, true);
        json_object_put(caller_receive(v));
        json_object_put(caller_receive(v));
        snprintf(w.id, sizeof(w.id), "%s", d.queue.jobs->id);
        varlink_free(v);
        fixture_stop();
        fixture_start();
        EXPECT_INT(fake_count_directories(), 1);
        EXPECT(d.queue.jobs && STREQ(d.queue.jobs->id, w.id));
        expect_state("web1", "handoff");
        EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
        EXPECT(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
        EXPECT_INT(helpers_adopt(&d.helpers, fds[0]), 0);
        w.socket = fds[1];
        fake_hello(&w, 1);
        turn_until(is_running);
        EXPECT_STR(d.queue.jobs->stage, "build");
        EXPECT_INT(journal_open(job_journal_open(d.queue.jobs), true, &w.journal, NULL), 0);
        v = await_end(w.id);
        fake_finish(&w, "updated", fake_destination);
        expect_outcome(v, "updated");
        journal_free(w.journal);
        close(fds[1]);
        EXPECT_INT(fake_started, 1);
        fake_forget(); /* the one that waits for its word; cprd is gone for it */
        fake_end();
}

/* It is gone: another one takes over. */
static void helper_has_gone(void)
{
        struct varlink *v = caller_new();
        char id[16];

        fake_begin(DIE_LATE, FINISH);
        caller_send(v, "io.cprd.Handoff", WEB1, true);
        json_object_put(caller_receive(v));
        snprintf(id, sizeof(id), "%s", d.queue.jobs->id);
        fixture_stop();
        varlink_free(v);
        fake_forget();
        fixture_start();
        v = await_end(id);
        turn();
        runner_absent(d.queue.jobs); /* as systemd says */
        expect_outcome(v, "updated");
        fake_end();
}

/* Leaves a directory with a journal, as a cprd that was killed would. */
static void leave(const char *id, const char *journal)
{
        _cleanup_free_ char *directory = file_path(fixture_runtime, "handoffs/%s", id),
                            *path = file_path(directory, "journal"),
                            *channel = file_path(directory, "channel");

        EXPECT(mkdir(directory, 0700) == 0 && mkdir(channel, 0700) == 0);
        EXPECT_INT(file_write(path, journal, 0600), 0);
}

/* A journal that was hardly begun, and one that ended while cprd was away. */
static void leftovers(void)
{
        fixture_stop();
        leave("aaaaaa", json_text("{'order': {'name': 'web"));
        leave("bbbbbb", json_text("{'order': {'name': 'web9', 'id': 'bbbbbb'}}\n"
                                  "{'record': {'id': 'bbbbbb', 'name': 'web9', 'outcome': 'updated'}}\n"
                                  "{'pro"));
        fixture_start();
        EXPECT_INT(fake_count_directories(), 0);
        EXPECT(!d.queue.jobs);
        expect_outcome(await_end("bbbbbb"), "updated");
}

/* A journal that should be long gone does not take the VM back to an old QEMU. */
static void stale_journal(void)
{
        _cleanup_json_ json_object *vm = NULL;

        fake_begin(FINISH, FINISH);
        fixture_stop();
        leave("cccccc", json_text("{'order': {'name': 'web1', 'id': 'cccccc', 'pid': %d, 'startTime': 1}}\n"
                                  "{'record': {'outcome': 'updated', 'destination': {'pid': %d}}}\n",
                                  fake_source, fake_destination));
        fixture_start();
        vm = describe("web1");
        EXPECT_INT(json_int(vm, "pid", 0), fake_source);
        EXPECT_STR(json_str(vm, "state"), "running");
        EXPECT_INT(fake_count_directories(), 0);
        fake_end();
}

/* Something in a handoff's directory cannot be removed (here: a mount): its journal still goes. */
static void directory_that_stays(void)
{
        _cleanup_free_ char *directory = file_path(fixture_runtime, "handoffs/dddddd"),
                            *journal = file_path(directory, "journal"),
                            *channel = file_path(directory, "channel");

        fixture_stop();
        leave("dddddd", json_text("{'order': {'name': 'web9', 'id': 'dddddd'}}\n"
                                  "{'record': {'outcome': 'updated'}}\n"));
        if (mount("test", channel, "tmpfs", 0, NULL) < 0) {
                printf("# cannot mount here: %s\n", strerror(errno));
        } else {
                fixture_start();
                EXPECT(access(channel, F_OK) == 0);
                EXPECT(access(journal, F_OK) < 0);
                fixture_stop();
                EXPECT(umount(channel) == 0);
        }
        fixture_start();
        EXPECT_INT(fake_count_directories(), 0);
}

/* Somebody on the handoff socket who is not a cprd-handoff. */
static void strangers(void)
{
        static const struct handoff_message messages[] = {
                {.op = HANDOFF_DONE},
                {.op = HANDOFF_HELLO, .role = HANDOFF_HELPER, .name = "nobody"},
                {.op = HANDOFF_HELLO, .role = HANDOFF_SOURCE, .name = "web1"},
                {.op = 77},
        };

        for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
                int fds[2];
                char c;

                EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
                EXPECT_INT(helpers_adopt(&d.helpers, fds[0]), 0);
                EXPECT_INT(handoff_send(fds[1], &messages[i], -EBADF), 0);
                for (int j = 0; j < 3; j++)
                        turn();
                EXPECT_INT(recv(fds[1], &c, 1, 0), 0);
                close(fds[1]);
        }
}

int main(void)
{
        fixture_set_up();
        TEST(helper_comes_back);
        TEST(helper_has_gone);
        TEST(leftovers);
        TEST(stale_journal);
        TEST(directory_that_stays);
        TEST(strangers);
        fixture_tear_down();
        return 0;
}
