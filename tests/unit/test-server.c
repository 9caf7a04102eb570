/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections and calls: what is a call, whose turn it is, and who is disconnected. */
#include "daemon-fixture.h"

#include <sys/socket.h>

#define GET_TEXT                                                                                             \
        "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"io.cprd\"}}"
#define LIST "{\"method\":\"io.cprd.List\"}"

static const char invalid[] = "org.varlink.service.InvalidParameter";

static void service(void)
{
        _cleanup_json_ json_object *info = call("org.varlink.service.GetInfo", "{}");
        _cleanup_json_ json_object *text =
                call("org.varlink.service.GetInterfaceDescription", json_text("{'interface': 'io.cprd'}"));

        EXPECT_STR(json_str(json_obj(info, "parameters"), "product"), "cprd");
        EXPECT_STR(json_str(json_obj(info, "parameters"), "version"), CPRD_VERSION);
        EXPECT(strstr(json_str(json_obj(text, "parameters"), "description"), "interface io.cprd"));
        expect_error("org.varlink.service.GetInterfaceDescription", json_text("{'interface': 'io.nobody'}"),
                     "org.varlink.service.InterfaceNotFound");
        expect_error("org.varlink.service.Nothing", "{}", "org.varlink.service.MethodNotFound");
        expect_error("io.cprd.Nothing", "{}", "org.varlink.service.MethodNotFound");
        expect_error("io.nobody.List", "{}", "org.varlink.service.InterfaceNotFound");
        expect_error("List", "{}", "org.varlink.service.InterfaceNotFound");
}

static void parameters(void)
{
        static const struct {
                const char *method, *parameters, *error;
        } cases[] = {
                {"io.cprd.Describe", "{}", invalid},
                {"io.cprd.Describe", "{'name': 1}", invalid},
                {"io.cprd.Describe", "{'name': null}", invalid},
                {"io.cprd.Describe", "{'name': 'x', 'y': 1}", invalid},
                {"io.cprd.Describe", "{'name': 'x\\u0000y'}", invalid},
                {"io.cprd.Register", "{'name': '../x', 'pid': 1, 'qmp': '/x'}", invalid},
                {"io.cprd.Register", "{'name': 'x', 'pid': 0, 'qmp': '/x'}", invalid},
                {"io.cprd.Register", "{'name': 'x', 'pid': 99999999999, 'qmp': '/x'}", invalid},
                {"io.cprd.Probe", "{'binaries': [1]}", invalid},
                {"io.cprd.Probe", "{'binaries': ['/usr/bin/qemu-system-x\\u0000']}", invalid},
                {"io.cprd.Probe", "{'binaries': ['/tmp/qemu']}", "io.cprd.NotUsable"},
                {"io.cprd.Handoff", "{'name': 'x', 'strategy': 'remote'}", invalid},
                {"io.cprd.Describe", "{'name': 'nobody'}", "io.cprd.NoSuchVm"},
                {"io.cprd.History", "{'id': 'nobody'}", "io.cprd.NoSuchRecord"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                expect_error(cases[i].method, json_text("%s", cases[i].parameters), cases[i].error);
}

static void send_text(struct varlink *v, const char *text, size_t size)
{
        EXPECT_INT(send(varlink_fd(v), text, size, MSG_NOSIGNAL), size);
}

static void not_calls(void)
{
        static const char *const messages[] = {
                "[]",
                "{",
                "{}",
                "{\"method\":1}",
                "{\"method\":\"io.cprd.List\",\"parameters\":[]}",
                "{\"method\":\"io.cprd.List\\u0000x\"}",
                "\xff",
        };

        for (size_t i = 0; i < ELEMENTSOF(messages); i++) {
                struct varlink *v = caller_new();

                send_text(v, messages[i], strlen(messages[i]) + 1);
                caller_expect_closed(v);
                varlink_free(v);
        }
        expect_done("io.cprd.List", "{}");
}

static void too_long(void)
{
        struct varlink *v = caller_new();
        char text[8192];

        memset(text, ' ', sizeof(text));
        for (size_t sent = 0; sent <= SERVER_CALL_MAX + 4 * sizeof(text); sent += sizeof(text)) {
                if (send(varlink_fd(v), text, sizeof(text), MSG_NOSIGNAL) < 0)
                        break;
                turn();
        }
        caller_expect_closed(v);
        varlink_free(v);
}

/* Calls sent at once are answered in order; one that wants no answer gets none. */
static void pipelined(void)
{
        static const char text[] = "{\"method\":\"io.cprd.List\",\"oneway\":true}\0"
                                   "{\"method\":\"io.cprd.Nothing\"}\0" LIST;
        struct varlink *v = caller_new();
        json_object *reply;

        send_text(v, text, sizeof(text));
        EXPECT(shutdown(varlink_fd(v), SHUT_WR) == 0);
        reply = caller_receive(v);
        EXPECT_STR(json_str(reply, "error"), "org.varlink.service.MethodNotFound");
        json_object_put(reply);
        reply = caller_receive(v);
        EXPECT(json_arr(json_obj(reply, "parameters"), "vms"));
        json_object_put(reply);
        caller_expect_closed(v);
        varlink_free(v);
}

static size_t count_replies(struct varlink *v)
{
        json_object *reply;
        size_t n = 0;

        while (varlink_fill(v) == 1)
                ;
        while (varlink_next(v, &reply, NULL) == 1) {
                json_object_put(reply);
                n++;
        }
        return n;
}

/* Somebody with many calls at once does not keep others waiting for all of them. */
static void take_turns(void)
{
        struct varlink *many = caller_new(), *one = caller_new();
        size_t answered, n = 200;

        for (size_t i = 0; i < n; i++)
                send_text(many, LIST, sizeof(LIST));
        while (count_replies(many) == 0)
                turn();
        caller_send(one, "io.cprd.List", "{}", false);
        json_object_put(caller_receive(one));
        answered = count_replies(many);
        if (answered > 10)
                FAIL("%zu calls of another connection came first", answered);
        varlink_free(one);
        varlink_free(many);
}

/* Whoever does not read gets no more calls done, but is not disconnected: the replies do not pile up in
 * cprd. */
static void slow_reader(void)
{
        struct varlink *v = caller_new();
        size_t sent = 0, answered = 0;

        while (sent < 5000 && send(varlink_fd(v), GET_TEXT, sizeof(GET_TEXT), MSG_NOSIGNAL) > 0) {
                sent++;
                for (int i = 0; i < 4; i++)
                        EXPECT(sd_event_run(d.event, 0) >= 0);
        }
        EXPECT_INT(errno, EAGAIN);
        expect_done("io.cprd.List", "{}");
        for (int i = 0; i < 100000 && answered < sent; i++) {
                answered += count_replies(v);
                EXPECT(sd_event_run(d.event, 0) >= 0);
        }
        EXPECT_INT(answered, sent);
        varlink_free(v);
}

static void idle(void)
{
        uint64_t before = d.server.idle_usec;
        struct varlink *v, *half;

        d.server.idle_usec = 20 * USEC_PER_MSEC;
        v = caller_new();
        half = caller_new();
        send_text(half, LIST, 5);
        caller_expect_closed(v);
        caller_expect_closed(half);
        varlink_free(half);
        varlink_free(v);
        d.server.idle_usec = before;
        EXPECT_INT(d.server.n, 0);
}

int main(void)
{
        fixture_set_up();
        TEST(service);
        TEST(parameters);
        TEST(not_calls);
        TEST(too_long);
        TEST(pipelined);
        TEST(take_turns);
        TEST(slow_reader);
        TEST(idle);
        fixture_tear_down();
        return 0;
}
