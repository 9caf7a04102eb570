/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/server.h"

#include "common/file.h"
#include "common/log.h"
#include "daemon/listener.h"
#include "proto/varlink.h"

#include <sys/epoll.h>
#include <sys/socket.h>

struct connection {
        struct connection *next;
        struct server *server;
        struct varlink *varlink;
        sd_event_source *io, *idle;
        struct caller caller;
        struct call *call; /* open; NULL: none */
        struct connection *ready_next;
        bool ready;   /* waiting for its turn, in the server's list */
        bool broken;  /* to be closed at its next turn */
        bool ended;   /* the peer sends nothing more */
        bool hung_up; /* …and reads nothing more */
        bool pending; /* output waits until it can be sent */
};

static void call_free(struct call *call)
{
        if (call->gone)
                call->gone(call);
        json_object_put(call->parameters);
        free(call);
}

static void ready_append(struct connection *c)
{
        struct connection **at = &c->server->ready;

        while (*at)
                at = &(*at)->ready_next;
        *at = c;
        c->ready_next = NULL;
        c->ready = true;
}

static void ready_remove(struct connection *c)
{
        struct connection **at = &c->server->ready;

        while (*at && *at != c)
                at = &(*at)->ready_next;
        if (*at)
                *at = c->ready_next;
        c->ready = false;
}

static void connection_free(struct connection *c)
{
        struct connection **at = &c->server->list;

        while (*at && *at != c)
                at = &(*at)->next;
        if (*at) {
                *at = c->next;
                c->server->n--;
        }
        ready_remove(c);
        if (c->call)
                call_free(c->call);
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->idle);
        varlink_free(c->varlink);
        free(c);
}

/* Waits for whatever lets the connection continue. */
static int connection_arm(struct connection *c)
{
        bool input = !c->call && !c->ended && !c->pending && !c->ready;

        if (c->hung_up)
                return 0;
        return sd_event_source_set_io_events(c->io, (input ? EPOLLIN : 0) | (c->pending ? EPOLLOUT : 0));
}

/* It continues, or is closed, after all others have had their turn. */
static void connection_queue(struct connection *c)
{
        if (!c->ready)
                ready_append(c);
        if (sd_event_source_set_enabled(c->server->turn, SD_EVENT_ONESHOT) < 0)
                abort();
        if (!c->broken)
                connection_arm(c);
}

static void connection_break(struct connection *c)
{
        c->broken = true;
        sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
        connection_queue(c);
}

static void connection_flush(struct connection *c)
{
        int r = c->broken ? 0 : varlink_flush(c->varlink);

        c->pending = r > 0;
        if (r < 0 || (!c->broken && connection_arm(c) < 0))
                connection_break(c);
}

static void connection_send(struct connection *c, json_object *message)
{
        int r = c->broken ? 0 : varlink_queue(c->varlink, message);

        json_object_put(message);
        if (r < 0) {
                log_warning("%s is disconnected: it does not read its replies", c->caller.text);
                connection_break(c);
        }
        connection_flush(c);
}

/* A method with a NUL in it is invalid: C strings would lose what follows. */
static const char *method_of(json_object *message)
{
        json_object *method = NULL;
        const char *name = json_str(message, "method");

        json_object_object_get_ex(message, "method", &method);
        return name && strlen(name) == (size_t)json_object_get_string_len(method) ? name : NULL;
}

/* Turns a message into a call, and runs it. Returns false if the message is not a call. */
static bool connection_call(struct connection *c, json_object *message)
{
        const char *method = method_of(message);
        json_object *parameters = json_obj(message, "parameters"), *any = NULL;
        struct call *call;

        json_object_object_get_ex(message, "parameters", &any);
        if (!method || (any && !parameters))
                return false;
        call = mem_new(1, sizeof(*call));
        *call = (struct call){
                .connection = c,
                .caller = &c->caller,
                .context = c->server->context,
                .parameters = parameters ? json_object_get(parameters) : json_object_new_object(),
                .more = json_flag(message, "more"),
                .oneway = json_flag(message, "oneway"),
        };
        c->call = call;
        c->server->dispatch(call, method);
        return true;
}

/* Takes the next call. */
static void connection_next(struct connection *c)
{
        _cleanup_json_ json_object *message = NULL;
        struct failure f = {};
        int r = varlink_next(c->varlink, &message, &f);

        if (r > 0 && connection_call(c, message))
                return;
        if (r != 0)
                log_info("%s is disconnected: %s", c->caller.text, r < 0 ? f.what : "not a method call");
        if (r != 0 || c->ended || connection_arm(c) < 0)
                connection_break(c);
}

static int on_turn(sd_event_source *source, void *userdata)
{
        struct server *s = userdata;
        struct connection *c = s->ready;

        ready_remove(c);
        if (c->broken)
                connection_free(c);
        else if (!c->call && !c->pending)
                connection_next(c);
        else if (connection_arm(c) < 0)
                connection_break(c);
        if (s->ready && sd_event_source_set_enabled(s->turn, SD_EVENT_ONESHOT) < 0)
                abort();
        return 0;
}

/* Only input counts; a caller waiting for a reply is not idle. */
static int on_idle(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct connection *c = userdata;

        if (!c->call) {
                log_debug("%s is disconnected: idle", c->caller.text);
                connection_break(c);
        }
        return 0;
}

static void restart_idle(struct connection *c)
{
        if (sd_event_source_set_time_relative(c->idle, c->server->idle_usec) < 0 ||
            sd_event_source_set_enabled(c->idle, SD_EVENT_ONESHOT) < 0)
                connection_break(c);
}

/* The kernel reports a hang-up again and again. What has been read is still done, unless its caller waits for
 * a reply. */
static void on_hang_up(struct connection *c)
{
        c->ended = c->hung_up = true;
        sd_event_source_set_enabled(c->io, SD_EVENT_OFF);
        if (c->call)
                connection_break(c);
        else
                connection_queue(c);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct connection *c = userdata;
        int r = 1;

        restart_idle(c);
        if (!(revents & (EPOLLIN | EPOLLOUT))) {
                on_hang_up(c);
                return 0;
        }
        if (revents & EPOLLIN)
                r = varlink_fill(c->varlink);
        c->ended = c->ended || r == 0;
        if (r < 0 && r != -EAGAIN) {
                log_info("%s is disconnected: %s", c->caller.text, strerror(-r));
                connection_break(c);
        }
        connection_flush(c);
        connection_queue(c);
        return 0;
}

static void call_finish(struct call *call, json_object *message)
{
        struct connection *c = call->connection;
        bool oneway = call->oneway;

        c->call = NULL;
        call_free(call);
        if (oneway)
                json_object_put(message);
        else
                connection_send(c, message);
        restart_idle(c);
        connection_queue(c);
}

void call_reply(struct call *call, json_object *parameters)
{
        call_finish(call, varlink_reply(parameters, false));
}

void call_error(struct call *call, const char *error, json_object *parameters)
{
        char name[128];

        snprintf(name, sizeof(name), "%s%s", strchr(error, '.') ? "" : "io.cprd.", error);
        call_finish(call, varlink_error(name, parameters));
}

void call_continue(struct call *call, json_object *parameters)
{
        json_object *message = varlink_reply(parameters, true);

        if (call->more && !call->oneway)
                connection_send(call->connection, message);
        else
                json_object_put(message);
}

static int connection_watch(struct connection *c)
{
        struct server *s = c->server;
        int fd = varlink_fd(c->varlink), r;

        r = sd_event_add_io(s->event, &c->io, fd, EPOLLIN, on_io, c);
        if (r >= 0) /* imprecise, so that it coincides with other wake-ups */
                r = sd_event_add_time_relative(s->event, &c->idle, CLOCK_BOOTTIME, s->idle_usec,
                                               s->idle_usec / 4 + 1, on_idle, c);
        if (r >= 0)
                sd_event_source_set_description(c->io, "io.cprd");
        return r;
}

int server_adopt(struct server *s, int fd)
{
        struct connection *c = mem_new(1, sizeof(*c));
        int r;

        c->server = s;
        varlink_new(fd, &c->varlink);
        varlink_limit(c->varlink, SERVER_CALL_MAX);
        r = caller_identify(fd, s->group, &c->caller);
        if (r >= 0 && s->n >= (c->caller.uid == 0 ? SERVER_CONNECTIONS : SERVER_FEW))
                r = -EMFILE;
        if (r >= 0)
                r = connection_watch(c);
        if (r < 0) {
                connection_free(c);
                return r;
        }
        c->next = s->list;
        s->list = c;
        s->n++;
        return 0;
}

static int on_accept(sd_event_source *source, int socket, uint32_t revents, void *userdata)
{
        int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int r = fd < 0 ? -errno : server_adopt(userdata, fd);

        if (r < 0 && r != -EAGAIN)
                log_warning("a connection is refused: %s",
                            r == -EMFILE ? "too many connections" : strerror(-r));
        return 0;
}

int server_listen(struct server *s, sd_event *event, const char *runtime,
                  void (*dispatch)(struct call *call, const char *method), void *context, struct failure *f)
{
        _cleanup_free_ char *path = file_path(runtime, "io.cprd");
        gid_t group = caller_group(); /* none before installation: root only */
        int r;

        *s = (struct server){.event = event,
                             .fd = -EBADF,
                             .group = group,
                             .idle_usec = SERVER_IDLE_USEC,
                             .dispatch = dispatch,
                             .context = context};
        r = listener_open(path, SOCK_STREAM, group != (gid_t)-1 ? 0660 : 0600, group, &s->fd);
        if (r >= 0)
                r = sd_event_add_io(event, &s->io, s->fd, EPOLLIN, on_accept, s);
        if (r >= 0)
                r = sd_event_add_defer(event, &s->turn, on_turn, s);
        if (r >= 0) /* other event sources go first */
                r = sd_event_source_set_priority(s->turn, SD_EVENT_PRIORITY_NORMAL + 1);
        if (r >= 0)
                r = sd_event_source_set_enabled(s->turn, SD_EVENT_OFF);
        return r < 0 ? failure_set(f, r, "cannot listen on %s: %s", path, strerror(-r)) : 0;
}

void server_done(struct server *s)
{
        if (!s->event)
                return;
        while (s->list)
                connection_free(s->list);
        sd_event_source_disable_unref(s->io);
        sd_event_source_disable_unref(s->turn);
        close_fd(s->fd);
        *s = (struct server){};
}
