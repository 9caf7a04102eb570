/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon-fixture.h"

#include "common/file.h"
#include "daemon/api.h"
#include "fake-helper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

struct daemon d = {.lock = -EBADF};
char *fixture_runtime, *fixture_state, *fixture_qmp;
static char directory[] = "/tmp/cprd-test-XXXXXX";

const char *json_text(const char *format, ...)
{
        static char texts[8][4096];
        static size_t next;
        char *text = texts[next++ % ELEMENTSOF(texts)];
        va_list ap;

        va_start(ap, format);
        EXPECT(vsnprintf(text, sizeof(texts[0]), format, ap) < (int)sizeof(texts[0]));
        va_end(ap);
        for (char *p = text; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        return text;
}

void fixture_start(void)
{
        _cleanup_free_ char *config_path = file_path(directory, "cprd.conf");
        struct failure f = {};
        struct config config;

        EXPECT_INT(config_load(&config, config_path, &f), 0);
        if (daemon_init(&d, fixture_runtime, fixture_state, &config, &f) < 0)
                FAIL("%s", f.what);
        d.queue.device_path = "/dev/null";
        d.queue.retry_usec = USEC_PER_MSEC;
        if (daemon_start(&d, &fake_starter, api_call, &f) < 0)
                FAIL("%s", f.what);
}

void fixture_stop(void)
{
        daemon_done(&d);
}

void fixture_set_up(void)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        EXPECT(mkdtemp(directory));
        fixture_runtime = file_path(directory, "run");
        fixture_state = file_path(directory, "lib");
        fixture_qmp = file_path(directory, "qmp");
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", fixture_qmp);
        EXPECT(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        close(fd);
        signal(SIGPIPE, SIG_IGN);
        fixture_start();
}

void fixture_tear_down(void)
{
        _cleanup_close_ int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        fixture_stop();
        EXPECT_INT(file_remove_tree(tmp, directory + strlen("/tmp/")), 0);
        free(fixture_runtime);
        free(fixture_state);
        free(fixture_qmp);
}

void turn(void)
{
        EXPECT(sd_event_run(d.event, 20 * USEC_PER_MSEC) >= 0);
}

void turn_until(bool (*done)(void))
{
        uint64_t until = now_usec() + 10 * USEC_PER_SEC;

        while (!done()) {
                if (now_usec() > until)
                        FAIL("not so within 10 s");
                turn();
        }
}

/* ---- callers ---- */

struct varlink *caller_new(void)
{
        struct varlink *v;
        int fds[2];

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        EXPECT_INT(server_adopt(&d.server, fds[0]), 0);
        EXPECT_INT(varlink_new(fds[1], &v), 0);
        return v;
}

void caller_send(struct varlink *v, const char *method, const char *parameters, bool more)
{
        _cleanup_json_ json_object *message = varlink_call(method, json_tokener_parse(parameters), more);

        EXPECT_INT(varlink_queue(v, message), 0);
        EXPECT_INT(varlink_flush(v), 0);
}

json_object *caller_receive(struct varlink *v)
{
        uint64_t until = now_usec() + 10 * USEC_PER_SEC;
        json_object *message;

        while (now_usec() < until) {
                int r = varlink_next(v, &message, NULL);

                EXPECT(r >= 0);
                if (r > 0)
                        return message;
                turn();
                r = varlink_fill(v);
                if (r == 0 || r == -ECONNRESET)
                        return NULL;
        }
        FAIL("no reply within 10 s");
}

void caller_expect_closed(struct varlink *v)
{
        json_object *reply = caller_receive(v);

        if (reply)
                FAIL("a reply came: %s", json_object_to_json_string(reply));
}

json_object *call(const char *method, const char *parameters)
{
        struct varlink *v = caller_new();
        json_object *reply;

        caller_send(v, method, parameters, false);
        reply = caller_receive(v);
        EXPECT(reply);
        varlink_free(v);
        return reply;
}

void expect_error(const char *method, const char *parameters, const char *error)
{
        _cleanup_json_ json_object *reply = call(method, parameters);

        EXPECT_STR(json_str(reply, "error") ?: "none", error);
}

void expect_done(const char *method, const char *parameters)
{
        _cleanup_json_ json_object *reply = call(method, parameters);

        if (json_str(reply, "error"))
                FAIL("%s: %s", method, json_object_to_json_string(reply));
}

/* ---- VMs ---- */

pid_t qemu_start(void)
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

void qemu_kill(pid_t pid)
{
        EXPECT(kill(pid, SIGKILL) == 0);
        EXPECT_INT(waitpid(pid, NULL, 0), pid);
}

void register_vm(const char *name, pid_t pid)
{
        expect_done("io.cprd.Register",
                    json_text("{'name': '%s', 'pid': %d, 'qmp': '%s'}", name, pid, fixture_qmp));
}

void unregister_vm(const char *name)
{
        expect_done("io.cprd.Unregister", json_text("{'name': '%s'}", name));
}

json_object *describe(const char *name)
{
        _cleanup_json_ json_object *reply = call("io.cprd.Describe", json_text("{'name': '%s'}", name));
        json_object *vm = json_obj(json_obj(reply, "parameters"), "vm");

        EXPECT(vm);
        return json_object_get(vm);
}

void expect_state(const char *name, const char *wanted)
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
