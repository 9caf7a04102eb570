/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define RETRY_USEC   (200 * USEC_PER_MSEC)
#define FINISH_TRIES 5

static int connect_socket(struct failure *f)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = HANDOFF_SOCKET};
        struct timeval limit = {.tv_sec = 10};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                failure_set(f, errno, "cannot connect to %s: %s", HANDOFF_SOCKET, strerror(errno));
                return failure_remedy(f, "start cprd.service; cprd-handoff is started by it and not by hand");
        }
        return TAKE_FD(fd);
}

static int say_hello(int fd, const char *id, bool again)
{
        struct handoff_message hello = HANDOFF_MESSAGE(HANDOFF_HELLO, .role = HANDOFF_HELPER, .value = again);

        snprintf(hello.name, sizeof(hello.name), "%s", id);
        return handoff_send(fd, &hello, -EBADF);
}

static void remember(struct link *l, int op, int role, uint64_t value, int fd)
{
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

        link_forget(l, op);
        if (copy >= 0 && l->n_told < LINK_TOLD_MAX)
                l->told[l->n_told++] = (struct told){.op = op, .role = role, .value = value, .fd = copy};
        else
                close_fd(copy);
}

void link_forget(struct link *l, int op)
{
        for (size_t i = l->n_told; i-- > 0;)
                if (l->told[i].op == op) {
                        close_fd(l->told[i].fd);
                        l->told[i] = l->told[--l->n_told];
                }
}

/* What cprd sent with a descriptor is told to the next cprd too, which may have lost it. */
static bool is_kept(const struct handoff_message *m, int fd)
{
        return fd >= 0 &&
               (m->op == HANDOFF_DEVICE || (m->op == HANDOFF_PROCESS && m->role == HANDOFF_DESTINATION));
}

int link_connect(struct link *l, const char *id, link_take_t take, void *userdata, struct failure *f)
{
        int r;

        snprintf(l->id, sizeof(l->id), "%s", id);
        l->fd = connect_socket(f);
        if (l->fd < 0)
                return l->fd;
        r = say_hello(l->fd, id, false);
        while (r == 0) {
                struct handoff_message m;
                int fd;

                r = handoff_receive(l->fd, &m, &fd, f);
                if (r == 0)
                        r = failure_set(f, ECONNRESET, "cprd ended the connection");
                if (r > 0 && is_kept(&m, fd))
                        remember(l, m.op, (int)m.role, m.value, fd);
                if (r > 0)
                        r = m.op == HANDOFF_BEGIN ? 1 : take(userdata, &m, fd, f);
        }
        if (r < 0)
                return failure_set(f, r, "no order from cprd: %s", strerror(-r));
        return fcntl(l->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

void link_close(struct link *l)
{
        for (size_t i = 0; i < l->n_told; i++)
                close_fd(l->told[i].fd);
        close_fd(l->fd);
        *l = LINK_NULL;
}

static void lose(struct link *l)
{
        l->fd = close_fd(l->fd);
        l->retry = now_usec() + RETRY_USEC;
}

static void send_message(struct link *l, int op, int role, uint64_t value, int pass_fd)
{
        struct handoff_message m = HANDOFF_MESSAGE((uint16_t)op, .role = (uint32_t)role, .value = value);

        snprintf(m.name, sizeof(m.name), "%s", l->id);
        if (l->fd >= 0 && handoff_send(l->fd, &m, pass_fd) < 0)
                lose(l);
}

void link_tell(struct link *l, int op, int role, uint64_t value, int pass_fd)
{
        if (pass_fd >= 0)
                remember(l, op, role, value, pass_fd);
        send_message(l, op, role, value, pass_fd);
}

static void come_back(struct link *l)
{
        if (!l->id[0] || now_usec() < l->retry)
                return;
        l->retry = now_usec() + RETRY_USEC;
        l->fd = connect_socket(NULL);
        if (l->fd < 0)
                return;
        if (fcntl(l->fd, F_SETFL, O_NONBLOCK) < 0 || say_hello(l->fd, l->id, true) < 0)
                return lose(l);
        for (size_t i = 0; i < l->n_told; i++)
                send_message(l, l->told[i].op, l->told[i].role, l->told[i].value, l->told[i].fd);
        send_message(l, HANDOFF_RECORD, 0, 0, -EBADF);
}

void link_read(struct link *l)
{
        if (l->fd < 0)
                return come_back(l);
        for (;;) {
                struct handoff_message m;
                struct failure f = {};
                int fd, r = handoff_receive(l->fd, &m, &fd, &f);

                if (r == -EAGAIN)
                        return;
                if (r <= 0)
                        return lose(l);
                close_fd(fd);
                l->aborted = l->aborted || m.op == HANDOFF_ABORT;
        }
}

void link_finish(struct link *l)
{
        for (int try = 0; l->fd < 0 && try < FINISH_TRIES; try++) {
                if (try)
                        nanosleep(&(struct timespec){.tv_nsec = RETRY_USEC * NSEC_PER_USEC}, NULL);
                l->retry = 0;
                come_back(l);
        }
        send_message(l, HANDOFF_RECORD, 0, 0, -EBADF);
        send_message(l, HANDOFF_DONE, 0, 0, -EBADF);
}
