/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* A QEMU that answers from a table: by the command, and by a word of its arguments. It reports what it was
 * told to set. */
struct answer {
        const char *command, *word, *reply;
};

static json_object *settings_of(json_object *state, const char *name)
{
        json_object *o = json_obj(state, name);

        if (!o) {
                o = json_object_new_object();
                json_add(state, name, o);
        }
        return o;
}

static void set(json_object *state, const char *command, json_object *arguments)
{
        json_object *list = json_arr(arguments, "capabilities");

        for (size_t i = 0; list && i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);

                json_add_bool(settings_of(state, "capabilities"), json_str(o, "capability"),
                              json_flag(o, "state"));
        }
        if (STREQ(command, "block_set_io_throttle"))
                json_add(state, command, json_object_get(arguments));
        if (!STREQ(command, "migrate-set-parameters"))
                return;
        json_object_object_foreach (arguments, key, value) {
                json_add(settings_of(state, "parameters"), key, json_object_get(value));
        }
}

static json_object *capabilities(json_object *state)
{
        json_object *list = json_object_new_array();

        json_object_object_foreach (settings_of(state, "capabilities"), key, value) {
                json_object *o = json_object_new_object();

                json_add_str(o, "capability", key);
                json_add(o, "state", json_object_get(value));
                json_object_array_add(list, o);
        }
        return list;
}

static json_object *find_reply(json_object *state, const struct answer *answers, const char *command,
                               const char *arguments)
{
        if (STREQ(command, "query-migrate-capabilities"))
                return capabilities(state);
        if (STREQ(command, "query-throttle"))
                return json_object_get(settings_of(state, "block_set_io_throttle"));
        if (STREQ(command, "query-migrate-parameters"))
                return json_object_get(settings_of(state, "parameters"));
        for (; answers && answers->command; answers++)
                if (STREQ(answers->command, command) && strstr(arguments, answers->word))
                        return json_tokener_parse(answers->reply);
        return strncmp(command, "query", 5) == 0 ? json_object_new_array() : json_object_new_object();
}

static void answer(int fd, json_object *state, const struct answer *answers, json_object *request)
{
        json_object *arguments = json_obj(request, "arguments"), *reply = json_object_new_object();
        const char *command = json_str(request, "execute"), *text;

        set(state, command, arguments);
        json_add(reply, "return",
                 find_reply(state, answers, command,
                            json_object_to_json_string_ext(arguments, JSON_C_TO_STRING_PLAIN)));
        text = json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN);
        if (write(fd, text, strlen(text)) < 0 || write(fd, "\r\n", 2) < 0)
                _exit(0);
        json_object_put(reply);
}

/* Requests come one after the other, with nothing in between. */
static void run_qemu(int fd, json_object *state, const struct answer *answers)
{
        struct json_tokener *tokener = json_tokener_new();
        char byte;

        while (read(fd, &byte, 1) == 1) {
                json_object *request = json_tokener_parse_ex(tokener, &byte, 1);

                if (request) {
                        answer(fd, state, answers, request);
                        json_object_put(request);
                }
        }
        _exit(0);
}

struct fixture {
        struct handoff *h;
        pid_t qemu;
};

static struct fixture start(const char *state, const struct answer *answers)
{
        struct fixture x = {.h = handoff_new("test")};
        int fds[2], journal = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        EXPECT(journal_open(journal, true, &x.h->journal, NULL) >= 0);
        x.h->order.json = json_tokener_parse("{\"order\":{}}");
        x.h->destination.tells_graph = true;
        x.h->step.deadline = now_usec() + 20 * USEC_PER_SEC;
        x.qemu = fork();
        EXPECT(x.qemu >= 0);
        if (x.qemu == 0) {
                close(fds[0]);
                run_qemu(fds[1], json_tokener_parse(state), answers);
        }
        close(fds[1]);
        EXPECT(qmp_new(fds[0], &x.h->source.qmp) == 0);
        EXPECT(process_open(&x.h->source.process, x.qemu, 0, NULL) >= 0);
        return x;
}

static void stop(struct fixture *x)
{
        kill(x->qemu, SIGKILL);
        waitpid(x->qemu, NULL, 0);
        handoff_free(x->h);
}
