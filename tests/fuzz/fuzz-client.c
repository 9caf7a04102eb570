/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cprctl and libcprd read from a daemon. The first byte chooses a verb; a line feed stands for the NUL
 * that ends a message. What is printed must not reach the terminal with control characters. */
#include "cli/format.h"
#include "cli/live.h"
#include "cli/printable.h"
#include "cli/verbs.h"
#include "fuzz.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

static int (*const verbs[])(const struct options *o) = {
        verb_list,   verb_show,     verb_check,      verb_history,
        verb_cancel, verb_register, verb_unregister, verb_probe,
};

/* A daemon that answers each connection with the input, whatever was asked. It may still be at one when the
 * verb has given up. */
static struct {
        char path[64];
        int listener;
        pthread_mutex_t lock;
        char *text;
        size_t size;
} server = {.listener = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static void send_text(int fd)
{
        _cleanup_free_ char *copy = NULL;
        size_t size;

        pthread_mutex_lock(&server.lock);
        size = server.size;
        copy = mem_new(1, size + 1);
        memcpy(copy, server.text, size);
        pthread_mutex_unlock(&server.lock);
        fuzz_send(fd, copy, size);
}

static void set_text(const char *text, size_t size)
{
        pthread_mutex_lock(&server.lock);
        server.text = mem_resize(server.text, size + 1);
        memcpy(server.text, text, size);
        server.size = size;
        pthread_mutex_unlock(&server.lock);
}

static void *serve(void *unused)
{
        char call[4096];

        for (;;) {
                int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        continue;
                if (recv(fd, call, sizeof(call), 0) > 0)
                        send_text(fd);
                shutdown(fd, SHUT_WR);
                while (recv(fd, call, sizeof(call), 0) > 0)
                        ;
                close(fd);
        }
        return NULL;
}

static void start(void)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        pthread_t thread;

        fuzz_be_quiet();
        snprintf(server.path, sizeof(server.path), "%s/io.cprd", fuzz_directory());
        strcpy(address.sun_path, server.path);
        server.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        FUZZ_EXPECT(bind(server.listener, (struct sockaddr *)&address, sizeof(address)) == 0);
        FUZZ_EXPECT(listen(server.listener, 8) == 0 && pthread_create(&thread, NULL, serve, NULL) == 0);
}

/* A handoff's replies, without the connection that would be tried again for half a minute. */
static void watch(const char *text, size_t size)
{
        _cleanup_free_ char *shown = NULL;
        size_t length = 0;
        struct live live;
        FILE *out = open_memstream(&shown, &length);

        live_init(&live, out, "web1", NULL);
        for (const char *p = text; p < text + size; p += strlen(p) + 1) {
                _cleanup_json_ json_object *o = json_tokener_parse(p);
                _cleanup_json_ json_object *parameters = printable_copy(json_obj(o, "parameters"));

                if (!parameters)
                        continue;
                live_reply(&live, parameters);
                live_tick(&live);
                if (json_str(parameters, "outcome")) {
                        live_record(&live, parameters);
                        outcome_status(parameters);
                }
        }
        live_done(&live);
        fclose(out);
        for (size_t i = 0; i < length; i++)
                FUZZ_EXPECT((unsigned char)shown[i] >= ' ' || shown[i] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = size ? fuzz_text(data + 1, size - 1) : NULL;
        struct options o = {.socket = server.path, .name = "web1", .qmp = "/q", .pid = 1};
        size_t verb;

        if (server.listener < 0)
                start();
        if (!text)
                return 0;
        for (size_t i = 0; i + 1 < size; i++)
                if (text[i] == '\n')
                        text[i] = '\0';
        set_text(text, size - 1);
        verb = data[0] % (ELEMENTSOF(verbs) + 1);
        o.json = data[0] & 0x80;
        if (verb < ELEMENTSOF(verbs))
                verbs[verb](&o);
        else
                watch(text, size - 1);
        return 0;
}
