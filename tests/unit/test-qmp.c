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
        EXPECT(send_with_fd(p->fd, text, strlen(text), -EBADF, 0) == (ssize_t)strlen(text));
        return qmp_read(p->qmp);
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
        TEST(what_ends_a_connection);
        return 0;
}
