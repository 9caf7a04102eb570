/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/qmp.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A QEMU whose guest has taken it over may send anything: what we keep of that has bounds. */
#define LINE_MAX_SIZE  (1U << 20)  /* query-qmp-schema answers 300 kB */
#define EVENT_MAX_SIZE (16U << 10) /* the longest that QEMU knows are some 100 bytes */
#define EVENTS_MAX     128
#define READ_MAX       (1U << 20) /* at a time; the rest is there when we look again */

struct qmp {
        int fd;
        int error;
        char *buffer;
        size_t size, room;
        json_object *greeting;
        json_object *reply; /* to command number `sent` */
        /* Commands have no ids: they are answered in their order, and QEMU reads byte by byte. */
        uint64_t sent, answered;
        json_object *events[EVENTS_MAX]; /* a ring: event number n (from 1) is at (n - 1) % EVENTS_MAX */
        uint64_t n_events;
};

int qmp_new(int fd, struct qmp **ret)
{
        struct qmp *q = calloc(1, sizeof(*q));

        if (!q) {
                close(fd);
                return -ENOMEM;
        }
        q->fd = fd;
        *ret = q;
        return 0;
}

int qmp_connect(const char *path, struct qmp **ret, struct failure *f)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = -EBADF;

        if (strlen(path) >= sizeof(address.sun_path))
                return failure_set(f, ENAMETOOLONG, "the QMP path %s is too long for a unix socket", path);
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                /* EAGAIN: the backlog is full, so others wait there too. */
                failure_set(f, errno, "cannot connect to the QMP socket %s: %s", path,
                            errno == EAGAIN ? "others wait for it" : strerror(errno));
                return failure_remedy(
                        f,
                        "see that QEMU runs with -qmp unix:%s,server=on,wait=off and that the VM is "
                        "registered with that path",
                        path);
        }
        return qmp_new(TAKE_FD(fd), ret);
}

struct qmp *qmp_free(struct qmp *q)
{
        if (!q)
                return NULL;
        close_fd(q->fd);
        free(q->buffer);
        json_object_put(q->greeting);
        json_object_put(q->reply);
        for (size_t i = 0; i < EVENTS_MAX; i++)
                json_object_put(q->events[i]);
        free(q);
        return NULL;
}

int qmp_fd(struct qmp *q)
{
        return q->fd;
}

int qmp_error(const struct qmp *q)
{
        return q->error;
}

pid_t qmp_peer_pid(struct qmp *q)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        return getsockopt(q->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? 0 : peer.pid;
}

static int qmp_fail(struct qmp *q, int error)
{
        q->fd = close_fd(q->fd);
        return q->error = error;
}

static void keep_event(struct qmp *q, json_object *event)
{
        json_object **place = &q->events[q->n_events++ % EVENTS_MAX];

        json_object_put(*place);
        *place = json_object_get(event);
}

/* Nobody waits any more for the reply to an earlier command. */
static void take_reply(struct qmp *q, json_object *o)
{
        if (++q->answered != q->sent)
                return;
        json_object_put(q->reply);
        q->reply = json_object_get(o);
}

static int take_line(struct qmp *q, const char *line)
{
        _cleanup_json_ json_object *o = json_tokener_parse(line);

        if (!json_object_is_type(o, json_type_object))
                return -EBADMSG;
        if (json_obj(o, "QMP")) {
                json_object_put(q->greeting);
                q->greeting = TAKE_PTR(o);
        } else if (json_str(o, "event")) {
                if (strlen(line) > EVENT_MAX_SIZE)
                        return -EBADMSG;
                keep_event(q, o);
        } else if (json_object_object_get_ex(o, "return", NULL) || json_obj(o, "error")) {
                take_reply(q, o);
        }
        return 0;
}

static int take_lines(struct qmp *q)
{
        char *line = q->buffer, *end;

        while ((end = memchr(line, '\n', q->size - (size_t)(line - q->buffer)))) {
                int r;

                *end = '\0';
                r = take_line(q, line);
                if (r < 0)
                        return r;
                line = end + 1;
        }
        q->size -= (size_t)(line - q->buffer);
        memmove(q->buffer, line, q->size);
        return 0;
}

int qmp_read(struct qmp *q)
{
        if (q->error)
                return q->error;
        for (size_t got = 0; got < READ_MAX;) {
                ssize_t n;
                int r;

                if (q->room - q->size < 65536) {
                        char *more = q->room < LINE_MAX_SIZE ? realloc(q->buffer, q->room + 131072) : NULL;

                        if (!more)
                                return qmp_fail(q, -EBADMSG);
                        q->buffer = more;
                        q->room += 131072;
                }
                n = recv(q->fd, q->buffer + q->size, q->room - q->size, MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return 0;
                if (n <= 0)
                        return qmp_fail(q, n < 0 ? -errno : -ECONNRESET);
                q->size += (size_t)n;
                got += (size_t)n;
                r = take_lines(q);
                if (r < 0)
                        return qmp_fail(q, r);
        }
        return 0;
}

json_object *qmp_greeting(struct qmp *q)
{
        return q->greeting;
}

/* Our commands are smaller than any socket buffer: a short write means that QEMU stopped reading. */
static int send_text(struct qmp *q, const char *text, size_t size, int pass_fd)
{
        ssize_t n = send_with_fd(q->fd, text, size, pass_fd, MSG_DONTWAIT);

        return n == (ssize_t)size ? 0 : qmp_fail(q, n < 0 ? (int)n : -EPIPE);
}

/* The line's end is no part of a command: QEMU obeys at the closing brace. */
int qmp_send(struct qmp *q, const char *command, json_object *arguments, int pass_fd)
{
        _cleanup_json_ json_object *o = json_object_new_object();
        const char *text;
        size_t size;

        json_add_str(o, "execute", command);
        if (arguments)
                json_add(o, "arguments", arguments);
        q->sent++;
        json_object_put(TAKE_PTR(q->reply));
        text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                 &size);
        return q->error ? q->error : send_text(q, text, size, pass_fd);
}

int qmp_reply(struct qmp *q, json_object **ret, struct failure *f)
{
        json_object *value;
        const char *description;

        if (!q->reply)
                return q->error ? failure_set(f, q->error, "the QMP connection has ended: %s",
                                              strerror(-q->error))
                                : 0;
        if (json_object_object_get_ex(q->reply, "return", &value)) {
                if (ret)
                        *ret = json_object_get(value);
                json_object_put(TAKE_PTR(q->reply));
                return 1;
        }
        description = json_str(json_obj(q->reply, "error"), "desc");
        failure_set(f, EREMOTEIO, "QEMU says: %s", description ?: "an error that has no description");
        json_object_put(TAKE_PTR(q->reply));
        return -EREMOTEIO;
}

json_object *qmp_event(struct qmp *q, const char *name, uint64_t after, uint64_t *ret_number)
{
        for (uint64_t n = q->n_events; n > after && n + EVENTS_MAX > q->n_events; n--) {
                json_object *event = q->events[(n - 1) % EVENTS_MAX];

                if (STREQ(json_str(event, "event"), name)) {
                        if (ret_number)
                                *ret_number = n;
                        return event;
                }
        }
        return NULL;
}

uint64_t qmp_event_count(const struct qmp *q)
{
        return q->n_events;
}

const char *qmp_migration_status(struct qmp *q, uint64_t after)
{
        return json_str(json_obj(qmp_event(q, "MIGRATION", after, NULL), "data"), "status");
}

uint64_t qmp_event_usec(json_object *event)
{
        json_object *timestamp = json_obj(event, "timestamp");

        return (uint64_t)json_int(timestamp, "seconds", 0) * USEC_PER_SEC +
               (uint64_t)json_int(timestamp, "microseconds", 0);
}

json_object *qmp_arguments(const char *key, ...)
{
        json_object *o = json_object_new_object();
        va_list ap;

        va_start(ap, key);
        for (; key; key = va_arg(ap, const char *))
                json_add_str(o, key, va_arg(ap, const char *));
        va_end(ap);
        return o;
}
