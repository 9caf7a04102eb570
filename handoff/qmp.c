/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/qmp.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A QEMU whose guest has taken it over may send anything: what we keep of it is bounded. */
#define LINE_MAX_SIZE (1U << 20)  /* query-qmp-schema answers 300 kB */
#define VALUES_MAX    (64U << 10) /* in a line: json-c needs a hundred bytes and more for each */
#define NAME_MAX_SIZE 64          /* of an event, and of what it tells; QEMU's longest are half as long */
#define EVENTS_MAX    128
#define READ_MAX      (1U << 20) /* at a time; the rest stays for the next look */
#define IN_FLIGHT_MAX 8          /* questions; QEMU reads byte by byte, and waits for room to answer */

struct qmp {
        int fd;
        int error;
        char *buffer;
        size_t size, room;
        json_object *greeting;
        json_object *reply; /* to command number `wanted` */
        /* Commands have no ids: they are answered in their order, and QEMU reads byte by byte. */
        uint64_t sent, answered, wanted;
        const char *prepared;           /* sent but for its closing brace; borrowed */
        struct qmp_question *questions; /* of the batch under way; the caller's */
        size_t n_questions, n_asked, n_replied;
        uint64_t first_asked; /* number of the command that asked the first */
        bool (*allows)(const char *command, json_object *arguments);
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
                        "make sure that QEMU runs with -qmp unix:%s,server=on,wait=off and that the VM is "
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

/* Keeps of an event, which may be of any size, only what we ever look at. */
static json_object *event_essence(json_object *event)
{
        json_object *o = json_object_new_object(), *stamp = json_object_new_object(),
                    *data = json_object_new_object();
        json_object *source = json_obj(event, "timestamp"), *told = json_obj(event, "data");
        const char *const kept[] = {"status", "action", "reason"};

        json_add_str(o, "event", json_str(event, "event"));
        json_add_int(stamp, "seconds", json_int(source, "seconds", 0));
        json_add_int(stamp, "microseconds", json_int(source, "microseconds", 0));
        json_add(o, "timestamp", stamp);
        for (size_t i = 0; i < ELEMENTSOF(kept); i++)
                if (strlen(json_str(told, kept[i]) ?: "") < NAME_MAX_SIZE)
                        json_add_str(data, kept[i], json_str(told, kept[i]));
        json_add(o, "data", data);
        return o;
}

static void keep_event(struct qmp *q, json_object *event)
{
        json_object **place = &q->events[q->n_events++ % EVENTS_MAX];

        json_object_put(*place);
        *place = event_essence(event);
}

/* QEMU's words in an error reply. */
static const char *error_description(json_object *reply)
{
        return json_str(json_obj(reply, "error"), "desc") ?: "an error that has no description";
}

static void take_answer(struct qmp *q, json_object *reply)
{
        struct qmp_question *question = &q->questions[q->n_replied++];
        json_object *value;

        if (!json_object_object_get_ex(reply, "return", &value))
                question->error = strdup(error_description(reply));
        else
                question->reply = json_object_get(value);
}

/* Nobody waits any more for replies to earlier commands. */
static void take_reply(struct qmp *q, json_object *o)
{
        q->answered++;
        if (q->questions && q->answered >= q->first_asked && q->n_replied < q->n_asked)
                return take_answer(q, o);
        if (q->answered != q->wanted)
                return;
        json_object_put(q->reply);
        q->reply = json_object_get(o);
}

static int take_object(struct qmp *q, json_object *o)
{
        if (!json_object_is_type(o, json_type_object))
                return -EBADMSG;
        if (json_obj(o, "QMP")) {
                json_object_put(q->greeting);
                q->greeting = json_object_get(o);
        } else if (json_str(o, "event")) {
                if (strlen(json_str(o, "event")) >= NAME_MAX_SIZE)
                        return -EBADMSG;
                keep_event(q, o);
        } else if (json_object_object_get_ex(o, "return", NULL) || json_obj(o, "error")) {
                take_reply(q, o);
        }
        return 0;
}

/* An upper bound for the number of its values. */
static size_t count_values(const char *line)
{
        size_t n = 0;

        for (; (line = strpbrk(line, ",[{")); line++)
                n++;
        return n;
}

static int take_line(struct qmp *q, const char *line)
{
        _cleanup_json_ json_object *o = NULL;

        if (count_values(line) > VALUES_MAX)
                return -EBADMSG;
        o = json_tokener_parse(line);
        return take_object(q, o);
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

/* The line's end is not part of a command: QEMU obeys at the closing brace. Takes over @arguments. */
static int send_command(struct qmp *q, const char *command, json_object *arguments, int pass_fd)
{
        _cleanup_json_ json_object *o = json_object_new_object();
        const char *text;
        size_t size;

        q->sent++;
        if (TAKE_PTR(q->prepared))
                return send_text(q, "}", 1, -EBADF);
        json_add_str(o, "execute", command);
        if (arguments)
                json_add(o, "arguments", arguments);
        text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                                 &size);
        return q->error ? q->error : send_text(q, text, size, pass_fd);
}

void qmp_restrict(struct qmp *q, bool (*allows)(const char *command, json_object *arguments))
{
        q->allows = allows;
}

static bool is_allowed(const struct qmp *q, const char *command, json_object *arguments)
{
        return !q->allows || q->allows(command, arguments);
}

#define NOT_ALLOWED "cprd does not send this command to a source"

void qmp_prepare(struct qmp *q, const char *command)
{
        _cleanup_free_ char *text = text_print("{\"execute\":\"%s\"", command);

        if (!q->error && !q->prepared && is_allowed(q, command, NULL) &&
            send_text(q, text, strlen(text), -EBADF) == 0)
                q->prepared = command;
}

/* What was prepared must not be obeyed if the next command is not it: QEMU refuses a member that it does not
 * know. */
static void spoil_prepared(struct qmp *q, const char *next, json_object *arguments)
{
        static const char end[] = ",\"cancelled\":1}";

        if (!q->prepared || (STREQ(q->prepared, next) && !arguments))
                return;
        q->prepared = NULL;
        q->sent++;
        send_text(q, end, strlen(end), -EBADF);
}

/* As if QEMU had refused it. */
static int refuse_command(struct qmp *q, json_object *arguments)
{
        json_object *error = json_object_new_object();

        json_object_put(arguments);
        json_add_str(error, "desc", NOT_ALLOWED);
        q->reply = json_object_new_object();
        json_add(q->reply, "error", error);
        return -EPERM;
}

int qmp_send(struct qmp *q, const char *command, json_object *arguments, int pass_fd)
{
        q->questions = NULL;
        json_object_put(TAKE_PTR(q->reply));
        q->wanted = 0;
        if (!is_allowed(q, command, arguments))
                return refuse_command(q, arguments);
        spoil_prepared(q, command, arguments);
        q->wanted = q->sent + 1;
        return send_command(q, command, arguments, pass_fd);
}

int qmp_reply(struct qmp *q, json_object **ret, struct failure *f)
{
        json_object *value;

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
        failure_set(f, EREMOTEIO, "%s%s", q->wanted ? "QEMU says: " : "", error_description(q->reply));
        json_object_put(TAKE_PTR(q->reply));
        return -EREMOTEIO;
}

/* ---- batches ---- */

void qmp_ask(struct qmp *q, struct qmp_question *questions, size_t n)
{
        json_object_put(TAKE_PTR(q->reply));
        q->wanted = 0;
        q->questions = questions;
        q->n_questions = n;
        q->n_asked = q->n_replied = 0;
        if (n)
                spoil_prepared(q, questions[0].command, questions[0].arguments);
        q->first_asked = q->sent + 1;
}

/* Those that may not be sent are answered here, in their turn, since the others are counted. */
static int ask_next(struct qmp *q)
{
        struct qmp_question *next = &q->questions[q->n_asked];

        if (is_allowed(q, next->command, next->arguments)) {
                q->n_asked++;
                return send_command(q, next->command, TAKE_PTR(next->arguments), -EBADF);
        }
        if (q->n_replied < q->n_asked)
                return -EAGAIN;
        next->error = strdup(NOT_ALLOWED);
        q->n_asked++;
        q->n_replied++;
        return 0;
}

int qmp_answers(struct qmp *q, struct failure *f)
{
        int r = 0;

        if (!q->questions)
                return failure_set(f, ECANCELED, "another question has been asked");
        while (r >= 0 && q->n_asked < q->n_questions && q->n_asked - q->n_replied < IN_FLIGHT_MAX)
                r = ask_next(q);
        if (q->n_replied == q->n_questions) {
                q->questions = NULL;
                return 1;
        }
        if (q->error)
                return failure_set(f, q->error, "the QMP connection has ended: %s", strerror(-q->error));
        return 0;
}

void qmp_forget(struct qmp *q)
{
        q->questions = NULL;
}

/* ---- events ---- */

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
