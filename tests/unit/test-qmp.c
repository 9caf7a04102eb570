/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/qmp.h"

#include "test.h"

#include <sys/socket.h>

/* We are the QEMU of this connection. */
struct peer {
        struct qmp *qmp;
        int fd;
};

static struct peer connect_peer(void)
{
        struct peer p;
        int fds[2];

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        EXPECT(qmp_new(fds[0], &p.qmp) == 0);
        p.fd = fds[1];
        return p;
}

static void peer_done(struct peer *p)
{
        qmp_free(p->qmp);
        close_fd(p->fd);
}

static int say(struct peer *p, const char *text)
{
        size_t left = strlen(text);
        int r = 0;

        while (left && r >= 0) { /* a socket takes only so much at a time */
                size_t part = left < 32768 ? left : 32768;

                EXPECT(send_with_fd(p->fd, text, part, -EBADF, 0) == (ssize_t)part);
                text += part;
                left -= part;
                r = qmp_read(p->qmp);
        }
        return r;
}

static void expect_heard(struct peer *p, const char *expected)
{
        char text[256] = "";

        EXPECT(recv(p->fd, text, sizeof(text) - 1, MSG_DONTWAIT) > 0);
        EXPECT_STR(text, expected);
}

static void one_command(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        _cleanup_json_ json_object *result = NULL;

        EXPECT_INT(say(&p, "{\"QMP\": {\"version\": {}}}\r\n"), 0);
        EXPECT(qmp_greeting(p.qmp));
        EXPECT_INT(qmp_send(p.qmp, "qom-get", qmp_arguments("path", "/machine", NULL), -EBADF), 0);
        expect_heard(&p, "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine\"}}");
        EXPECT_INT(qmp_reply(p.qmp, &result, NULL), 0);
        EXPECT_INT(say(&p, "{\"return\": {\"a\""), 0);
        EXPECT_INT(qmp_reply(p.qmp, &result, NULL), 0);
        EXPECT_INT(say(&p, ": 1}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, &result, NULL), 1);
        EXPECT_INT(json_int(result, "a", 0), 1);
}

static void replies_come_in_order(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        _cleanup_json_ json_object *result = NULL;

        qmp_send(p.qmp, "qmp_capabilities", NULL, -EBADF);
        qmp_send(p.qmp, "query-status", NULL, -EBADF);
        EXPECT_INT(say(&p, "{\"return\": {}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, &result, NULL), 0);
        EXPECT_INT(say(&p, "{\"return\": {\"running\": true}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, &result, NULL), 1);
        EXPECT(json_flag(result, "running"));
}

static void late_replies_are_dropped(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        struct failure f = {};

        qmp_send(p.qmp, "one", NULL, -EBADF);
        qmp_send(p.qmp, "two", NULL, -EBADF);
        EXPECT_INT(say(&p, "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no one\"}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, NULL, NULL), 0);
        EXPECT_INT(say(&p, "{\"error\": {\"desc\": \"no two\"}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, NULL, &f), -EREMOTEIO);
        EXPECT_STR(f.what, "QEMU says: no two");
        EXPECT_INT(qmp_reply(p.qmp, NULL, NULL), 0);
}

static void events_are_kept(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        json_object *event;

        EXPECT(!qmp_migration_status(p.qmp, 0));
        EXPECT_INT(say(&p, "{\"timestamp\": {\"seconds\": 5, \"microseconds\": 7}, \"event\": \"STOP\"}\r\n"
                           "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"setup\"}}\r\n"
                           "{\"event\": \"MIGRATION\", \"data\": {\"status\": \"active\"}}\r\n"),
                   0);
        event = qmp_event(p.qmp, "STOP", 0, NULL);
        EXPECT_INT(qmp_event_usec(event), 5000007);
        EXPECT_INT(qmp_event_count(p.qmp), 3);
        EXPECT(!qmp_event(p.qmp, "STOP", 1, NULL));
        EXPECT_STR(qmp_migration_status(p.qmp, 0), "active");
        EXPECT(!qmp_migration_status(p.qmp, 3));
}

static int ask(struct peer *p, struct qmp_question *questions, size_t n)
{
        for (size_t i = 0; i < n; i++)
                questions[i] = (struct qmp_question){.command = i % 2 ? "qom-get" : "qom-list"};
        qmp_ask(p->qmp, questions, n);
        return qmp_answers(p->qmp, NULL);
}

static void done_asking(struct qmp_question *questions, size_t n)
{
        for (size_t i = 0; i < n; i++)
                qmp_question_done(&questions[i]);
}

static size_t count_heard(struct peer *p)
{
        char text[4096] = "";
        size_t n = 0;

        if (recv(p->fd, text, sizeof(text) - 1, MSG_DONTWAIT) > 0)
                for (const char *at = text; (at = strstr(at, "execute")); at++)
                        n++;
        return n;
}

static void a_batch_is_pipelined(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        struct qmp_question questions[20];
        size_t heard = 0;
        char text[64];

        EXPECT_INT(ask(&p, questions, ELEMENTSOF(questions)), 0);
        for (size_t i = 0; i < ELEMENTSOF(questions); i++) {
                heard += count_heard(&p);
                EXPECT(heard > i && heard <= i + 8);
                snprintf(text, sizeof(text),
                         i == 7 ? "{\"error\": {\"desc\": \"%zu\"}}\r\n" : "{\"return\": %zu}\r\n", i);
                EXPECT_INT(say(&p, text), 0);
                EXPECT_INT(qmp_answers(p.qmp, NULL), i + 1 == ELEMENTSOF(questions));
        }
        EXPECT_STR(questions[7].error, "7");
        EXPECT(!questions[7].reply);
        EXPECT_INT(json_object_get_int(questions[19].reply), 19);
        done_asking(questions, ELEMENTSOF(questions));
}

static void a_command_ends_a_batch(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        _cleanup_json_ json_object *result = NULL;
        struct qmp_question questions[2];

        EXPECT_INT(ask(&p, questions, 2), 0);
        qmp_send(p.qmp, "query-status", NULL, -EBADF);
        EXPECT_INT(qmp_answers(p.qmp, NULL), -ECANCELED);
        EXPECT_INT(say(&p, "{\"return\": 1}\r\n{\"return\": 2}\r\n{\"return\": {\"a\": 3}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, &result, NULL), 1);
        EXPECT_INT(json_int(result, "a", 0), 3);
        EXPECT(!questions[0].reply);
        done_asking(questions, 2);
}

static bool no_lists(const char *command, json_object *arguments)
{
        return !STREQ(command, "qom-list");
}

static void what_is_not_allowed_is_not_sent(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        struct qmp_question questions[2];
        struct failure f = {};

        qmp_restrict(p.qmp, no_lists);
        EXPECT_INT(qmp_send(p.qmp, "qom-list", qmp_arguments("path", "/", NULL), -EBADF), -EPERM);
        EXPECT_INT(qmp_reply(p.qmp, NULL, &f), -EREMOTEIO);
        EXPECT_STR(f.what, "cprd does not send this command to a source");
        EXPECT_INT(ask(&p, questions, 2), 0);
        expect_heard(&p, "{\"execute\":\"qom-get\"}");
        EXPECT_INT(say(&p, "{\"return\": 5}\r\n"), 0);
        EXPECT_INT(qmp_answers(p.qmp, NULL), 1);
        EXPECT(questions[0].error && !questions[1].error);
        EXPECT_INT(json_object_get_int(questions[1].reply), 5);
        done_asking(questions, 2);
}

static void a_prepared_command_needs_one_byte_more(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();

        qmp_prepare(p.qmp, "cont");
        expect_heard(&p, "{\"execute\":\"cont\"");
        EXPECT_INT(qmp_send(p.qmp, "cont", NULL, -EBADF), 0);
        expect_heard(&p, "}");
        EXPECT_INT(say(&p, "{\"return\": {}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, NULL, NULL), 1);
}

static void another_command_cancels_a_prepared_one(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer();
        struct qmp_question questions[1];

        qmp_prepare(p.qmp, "cont");
        EXPECT_INT(qmp_send(p.qmp, "query-status", NULL, -EBADF), 0);
        expect_heard(&p, "{\"execute\":\"cont\",\"cancelled\":1}{\"execute\":\"query-status\"}");
        EXPECT_INT(say(&p, "{\"error\": {\"desc\": \"no\"}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, NULL, NULL), 0);
        EXPECT_INT(say(&p, "{\"return\": {}}\r\n"), 0);
        EXPECT_INT(qmp_reply(p.qmp, NULL, NULL), 1);

        qmp_prepare(p.qmp, "cont");
        EXPECT_INT(ask(&p, questions, 1), 0);
        EXPECT_INT(say(&p, "{\"error\": {\"desc\": \"no\"}}\r\n{\"return\": 3}\r\n"), 0);
        EXPECT_INT(qmp_answers(p.qmp, NULL), 1);
        EXPECT_INT(json_object_get_int(questions[0].reply), 3);
        done_asking(questions, 1);
}

/* Of any type, without harm. */
static void replies_of_every_type(void)
{
        static const char *const values[] = {"null", "1", "-1.5", "true", "\"x\"", "[]", "{}"};

        for (size_t i = 0; i < ELEMENTSOF(values); i++) {
                _cleanup_(peer_done) struct peer p = connect_peer();
                _cleanup_json_ json_object *result = NULL;
                char text[64];

                snprintf(text, sizeof(text), "{\"return\": %s}\r\n", values[i]);
                qmp_send(p.qmp, "query-status", NULL, -EBADF);
                EXPECT_INT(say(&p, text), 0);
                EXPECT_INT(qmp_reply(p.qmp, &result, NULL), 1);
                EXPECT(!json_flag(result, "running") && !json_arr(result, "x"));
        }
}

/* A QEMU that its guest has taken over must not fill our memory. */
static void floods_are_bounded(void)
{
        _cleanup_(peer_done) struct peer p = connect_peer(), q = connect_peer();
        static char text[256 << 10];
        size_t n = (size_t)sprintf(text, "{\"event\": \"A\", \"data\": {\"status\": \"x\", \"more\": [");
        int sent = 0;

        memset(text + n, ' ', 50000);
        strcpy(text + n + 50000, "]}}\r\n");
        for (int i = 0; i < 300; i++)
                sent += say(&p, text) == 0;
        EXPECT_INT(sent, 300);
        EXPECT_INT(qmp_event_count(p.qmp), 300);
        EXPECT_STR(
                json_object_to_json_string_ext(qmp_event(p.qmp, "A", 0, NULL), JSON_C_TO_STRING_PLAIN),
                "{\"event\":\"A\",\"timestamp\":{\"seconds\":0,\"microseconds\":0},\"data\":{\"status\":\"x\"}}");
        n = (size_t)sprintf(text, "{\"return\": [");
        memset(text + n, ',', 70000);
        strcpy(text + n + 70000, "1]}\r\n");
        EXPECT_INT(say(&q, text), -EBADMSG);
}

static void what_ends_a_connection(void)
{
        static const struct {
                const char *text;
                int error;
        } table[] = {
                {"hello\r\n", -EBADMSG},
                {"[]\r\n", -EBADMSG},
                {"{\"return\": \r\n", -EBADMSG},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_(peer_done) struct peer p = connect_peer();

                EXPECT_INT(say(&p, table[i].text), table[i].error);
                EXPECT_INT(qmp_send(p.qmp, "stop", NULL, -EBADF), table[i].error);
                EXPECT_INT(qmp_reply(p.qmp, NULL, NULL), table[i].error);
        }
        {
                _cleanup_(peer_done) struct peer p = connect_peer();

                p.fd = close_fd(p.fd);
                EXPECT_INT(qmp_read(p.qmp), -ECONNRESET);
        }
}

int main(void)
{
        TEST(one_command);
        TEST(replies_come_in_order);
        TEST(late_replies_are_dropped);
        TEST(events_are_kept);
        TEST(a_batch_is_pipelined);
        TEST(a_command_ends_a_batch);
        TEST(what_is_not_allowed_is_not_sent);
        TEST(a_prepared_command_needs_one_byte_more);
        TEST(another_command_cancels_a_prepared_one);
        TEST(replies_of_every_type);
        TEST(floods_are_bounded);
        TEST(what_ends_a_connection);
        return 0;
}
