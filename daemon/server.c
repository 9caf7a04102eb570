/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/server.h"
#include "common/file.h"

#include "common/log.h"
#include "daemon/api.h"
#include "daemon/listener.h"
#include "proto/varlink.h"

#include <grp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define CONNECTIONS_MAX 256
#define CONNECTIONS_FEW 192 /* of callers other than root: who may call cprd must not lock root out */

struct connection {
        struct connection *next;
        struct daemon *daemon;
        struct varlink *varlink;
        sd_event_source *io;
        struct caller caller;
        struct call *call; /* open; NULL: none */
        bool broken;       /* to be closed by whoever is about to return to the loop */
        bool ended;        /* the peer sends no more */
        bool pending;      /* output waits until it can be sent */
        unsigned depth;    /* of connection_work() */
};

struct server {
        int fd;
        sd_event_source *io;
        struct connection *list;
        size_t n;
};

static void call_free(struct call *call)
{
        observer_remove(&call->observer);
        json_object_put(call->parameters);
        free(call);
}

static void connection_free(struct connection *c)
{
        struct connection **at = &c->daemon->server->list;

        while (*at != c)
                at = &(*at)->next;
        *at = c->next;
        c->daemon->server->n--;
        if (c->call) {
                if (c->call->gone)
                        c->call->gone(c->call);
                call_free(c->call);
        }
        sd_event_source_disable_unref(c->io);
        varlink_free(c->varlink);
        free(c);
}

/* Waits for what the connection can go on with: not for input while a call is open, for the peer may send
 * faster than calls end. */
static void connection_arm(struct connection *c, bool output)
{
        uint32_t events = (c->call || c->ended ? 0 : EPOLLIN) | (output ? EPOLLOUT : 0);

        if (sd_event_source_set_io_events(c->io, events) < 0)
                c->broken = true;
}

static void connection_flush(struct connection *c)
{
        int r = c->broken ? 0 : varlink_flush(c->varlink);

        c->pending = r > 0;
        if (r < 0)
                c->broken = true;
        else
                connection_arm(c, c->pending);
}

static void connection_send(struct connection *c, json_object *message)
{
        _cleanup_json_ json_object *mine = message;
        int r = c->broken ? 0 : varlink_queue(c->varlink, mine, -EBADF);

        if (r < 0) {
                log_warning("%s is cut off: %s", c->caller.text,
                            r == -ENOBUFS ? "it does not read its replies" : strerror(-r));
                c->broken = true;
        }
}

/* Makes a call of a message, and lets it run. Returns false when the message is not a call. */
static bool connection_call(struct connection *c, json_object *message)
{
        const char *method = json_str(message, "method");
        json_object *parameters = json_obj(message, "parameters"), *any = NULL;
        struct call *call;

        json_object_object_get_ex(message, "parameters", &any);
        if (!method || (any && !parameters))
                return false;
        call = calloc(1, sizeof(*call));
        if (!call)
                return false;
        call->daemon = c->daemon;
        call->connection = c;
        call->caller = &c->caller;
        call->parameters = parameters ? json_object_get(parameters) : json_object_new_object();
        call->more = json_flag(message, "more");
        call->oneway = json_flag(message, "oneway");
        c->call = call;
        api_call(call, method);
        return true;
}

/* Takes up calls until one stays open or none is left. A call may end at once, and from within this. */
static void connection_work(struct connection *c)
{
        c->depth++;
        while (!c->broken && !c->call) {
                _cleanup_json_ json_object *message = NULL;
                struct failure f = {};
                int r = varlink_next(c->varlink, &message, &f);

                if (r == 0)
                        break;
                if (r < 0 || !connection_call(c, message)) {
                        log_info("%s is cut off: %s", c->caller.text, r < 0 ? f.what : "not a method call");
                        c->broken = true;
                }
        }
        c->depth--;
        connection_flush(c);
}

/* Ends a connection that is of no more use. Not below connection_work(), whose caller does it then. */
static void connection_settle(struct connection *c)
{
        if (c->depth == 0 && (c->broken || (c->ended && !c->call && !c->pending)))
                connection_free(c);
}

static void call_finish(struct call *call, json_object *message)
{
        struct connection *c = call->connection;

        if (call->oneway)
                json_object_put(message);
        else
                connection_send(c, message);
        c->call = NULL;
        call_free(call);
        if (c->depth > 0)
                return; /* connection_work() goes on by itself */
        connection_work(c);
        connection_settle(c);
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
        struct connection *c = call->connection;
        json_object *message = varlink_reply(parameters, true);

        if (!call->more || call->oneway) {
                json_object_put(message);
                return;
        }
        connection_send(c, message);
        connection_flush(c);
        connection_settle(c);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct connection *c = userdata;
        struct failure f = {};
        int r = 1;

        if (revents & EPOLLIN) {
                r = varlink_fill(c->varlink, &f);
                c->ended = r == 0;
        } else if (revents & (EPOLLHUP | EPOLLERR)) {
                c->broken = true;
        }
        if (r < 0 && r != -EAGAIN) {
                log_info("%s is cut off: %s", c->caller.text, f.what[0] ? f.what : strerror(-r));
                c->broken = true;
        }
        connection_work(c);
        connection_settle(c);
        return 0;
}

int server_adopt(struct daemon *d, int fd)
{
        struct connection *c = calloc(1, sizeof(*c));
        int r;

        if (!c) {
                close(fd);
                return -ENOMEM;
        }
        c->daemon = d;
        r = varlink_new(fd, &c->varlink);
        if (r < 0) {
                free(c);
                return r;
        }
        r = caller_identify(fd, &c->caller);
        if (r >= 0 && d->server->n >= (c->caller.uid == 0 ? CONNECTIONS_MAX : CONNECTIONS_FEW))
                r = -EMFILE;
        if (r >= 0)
                r = sd_event_add_io(d->event, &c->io, fd, EPOLLIN, on_io, c);
        if (r < 0) {
                varlink_free(c->varlink);
                free(c);
                return r;
        }
        sd_event_source_set_description(c->io, "io.cprd");
        c->next = d->server->list;
        d->server->list = c;
        d->server->n++;
        return 0;
}

static int on_accept(sd_event_source *s, int socket, uint32_t revents, void *userdata)
{
        int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int r = fd < 0 ? -errno : server_adopt(userdata, fd);

        if (r < 0 && r != -EAGAIN)
                log_warning("a connection is refused: %s",
                            r == -EMFILE ? "too many connections" : strerror(-r));
        return 0;
}

int server_listen(struct daemon *d, struct failure *f)
{
        _cleanup_free_ char *path = file_path(d->runtime, "io.cprd");
        struct group *group = getgrnam(CALLER_GROUP); /* none, before it is installed: root only */
        int r;

        d->server = calloc(1, sizeof(*d->server));
        if (!d->server)
                return -ENOMEM;
        d->server->fd = -EBADF;
        r = listener_open(path, SOCK_STREAM, group ? 0660 : 0600, group ? group->gr_gid : (gid_t)-1,
                          &d->server->fd);
        if (r >= 0)
                r = sd_event_add_io(d->event, &d->server->io, d->server->fd, EPOLLIN, on_accept, d);
        return r < 0 ? failure_set(f, r, "cannot listen on %s: %s", path, strerror(-r)) : 0;
}

void server_free(struct daemon *d)
{
        if (!d->server)
                return;
        while (d->server->list)
                connection_free(d->server->list);
        sd_event_source_disable_unref(d->server->io);
        close_fd(d->server->fd);
        free(d->server);
        d->server = NULL;
}
