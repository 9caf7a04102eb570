/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/cprd.h"

#include "proto/varlink.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#define EXPORT __attribute__((visibility("default")))

struct cprd {
        struct varlink *varlink;
        int msec;
        int (*tick)(void *userdata);
        void *userdata;
};

EXPORT int cprd_connect(const char *path, struct cprd **ret)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = -EBADF;
        struct cprd *c;
        int r;

        if (!path)
                path = secure_getenv("CPRD_SOCKET") ?: CPRD_ADDRESS;
        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        r = varlink_new(TAKE_FD(fd), &c->varlink);
        if (r < 0) {
                free(c);
                return r;
        }
        *ret = c;
        return 0;
}

EXPORT struct cprd *cprd_free(struct cprd *c)
{
        if (c) {
                varlink_free(c->varlink);
                free(c);
        }
        return NULL;
}

EXPORT int cprd_fd(const struct cprd *c)
{
        return varlink_fd(c->varlink);
}

EXPORT void cprd_set_tick(struct cprd *c, int msec, int (*tick)(void *userdata), void *userdata)
{
        c->msec = msec;
        c->tick = tick;
        c->userdata = userdata;
}

/* Waits until there is something to read. */
static int wait_input(struct cprd *c)
{
        struct pollfd poller = {.fd = varlink_fd(c->varlink), .events = POLLIN};

        for (;;) {
                int n = poll(&poller, 1, c->tick ? c->msec : -1), r = 0;

                if (n > 0)
                        return 0;
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (c->tick)
                        r = c->tick(c->userdata);
                if (r < 0)
                        return r;
        }
}

/* The next message; waits for it, as the socket is blocking. */
static int receive(struct cprd *c, json_object **ret)
{
        for (;;) {
                int r = varlink_next(c->varlink, ret, NULL);

                if (r != 0)
                        return r;
                r = wait_input(c);
                if (r < 0)
                        return r;
                r = varlink_fill(c->varlink);
                if (r == 0)
                        return -EPIPE;
                if (r < 0)
                        return r == -ECONNRESET ? -EPIPE : r;
        }
}

static json_object *parameters_of(json_object *message)
{
        json_object *parameters = json_obj(message, "parameters");

        return parameters ? json_object_get(parameters) : json_object_new_object();
}

EXPORT int cprd_call(struct cprd *c, const char *method, json_object *parameters, cprd_reply_t each,
                     void *userdata, json_object **ret_parameters, char **ret_error)
{
        _cleanup_json_ json_object *call = varlink_call(method, parameters, each);
        int r = varlink_queue(c->varlink, call);

        if (r >= 0)
                r = varlink_flush(c->varlink);
        if (r < 0)
                return r;
        for (;;) {
                _cleanup_json_ json_object *message = NULL, *got = NULL;
                const char *error;

                r = receive(c, &message);
                if (r < 0)
                        return r;
                got = parameters_of(message);
                error = json_str(message, "error");
                if (!error && json_flag(message, "continues")) {
                        r = each ? each(got, userdata) : 0;
                        if (r < 0)
                                return r;
                        continue;
                }
                *ret_error = error ? strdup(error) : NULL;
                if (error && !*ret_error)
                        return -ENOMEM;
                *ret_parameters = TAKE_PTR(got);
                return error ? 1 : 0;
        }
}
