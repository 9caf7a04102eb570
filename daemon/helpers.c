/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helpers.h"

#include "common/device.h"
#include "common/file.h"
#include "common/log.h"
#include "daemon/listener.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#define HELPERS_MAX 512

/* The connection is useless now. What that means is up to its job. */
static void drop(struct helper *h, const char *why)
{
        if (h->job) {
                runner_lost(h->job, why);
                return;
        }
        log_warning("connection on the handoff socket closed: %s", why);
        helper_free(h);
}

static void on_hello(struct helper *h, const struct handoff_message *m)
{
        struct helpers *hs = h->userdata;
        struct job *j = m->role == HANDOFF_HELPER ? queue_find(hs->queue, m->name) : NULL;

        if (!j)
                drop(h, m->role == HANDOFF_HELPER ? "no handoff in flight has this id"
                                                  : "only cprd-handoff may connect");
        else if (runner_connected(j, h, m->value == 1) < 0)
                drop(h, "this handoff already has a cprd-handoff, or did not start this one");
}

/* Takes over @fd. */
static void keep(struct job *j, enum custody_kind kind, uint64_t value, int fd)
{
        struct failure f = {};
        int r = kind == CUSTODY_DEVICE ? device_check(fd, j->queue->device_path, &f) : 0;

        if (r < 0)
                close_fd(fd);
        else
                r = custody_keep(&j->custody, kind, value, fd, &f);
        if (r < 0)
                log_full(LOG_WARNING, j->name, j->id, "not taken into custody: %s", f.what);
}

static void on_report(struct job *j, const struct handoff_message *m, int fd)
{
        char why[64];

        if (m->op == HANDOFF_DEVICE) {
                keep(j, CUSTODY_DEVICE, m->value, fd);
        } else if (m->op == HANDOFF_PROCESS && m->role == HANDOFF_DESTINATION) {
                keep(j, CUSTODY_DESTINATION, 0, fd);
        } else if (m->op == HANDOFF_PROCESS && m->role == HANDOFF_SOURCE) {
                keep(j, CUSTODY_SOURCE, 0, fd);
        } else if (m->op == HANDOFF_RECORD) {
                runner_read(j);
        } else if (m->op == HANDOFF_DONE) {
                runner_finished(j);
        } else {
                close_fd(fd);
                snprintf(why, sizeof(why), "cprd-handoff sent %s", handoff_op_name(m->op));
                runner_lost(j, why);
        }
}

static void on_message(struct helper *h, const struct handoff_message *m, int fd)
{
        if (h->job) {
                runner_heard(h->job);
                on_report(h->job, m, fd);
                return;
        }
        close_fd(fd);
        if (m->op == HANDOFF_HELLO)
                on_hello(h, m);
        else
                drop(h, "the first message was not HELLO");
}

static const struct helper_handlers handlers = {.message = on_message, .closed = drop};

static size_t count(const struct helpers *hs)
{
        size_t n = 0;

        for (const struct helper *h = hs->list; h; h = h->next)
                n++;
        return n;
}

int helpers_adopt(struct helpers *hs, int fd)
{
        _cleanup_close_ int mine = fd;
        struct ucred peer;
        socklen_t size = sizeof(peer);
        int r;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        if ((peer.uid != 0 && peer.uid != geteuid()) || count(hs) >= HELPERS_MAX)
                return -EPERM;
        r = helper_new(hs->queue->event, fd, &hs->list, &handlers, hs, NULL);
        if (r >= 0)
                TAKE_FD(mine);
        return r;
}

static int on_accept(sd_event_source *s, int socket, uint32_t revents, void *userdata)
{
        int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int r = fd < 0 ? -errno : helpers_adopt(userdata, fd);

        if (r < 0 && r != -EAGAIN)
                log_warning("connection on the handoff socket refused: %s", strerror(-r));
        return 0;
}

int helpers_listen(struct helpers *hs, struct queue *queue, const char *runtime, struct failure *f)
{
        _cleanup_free_ char *path = file_path(runtime, "handoff");
        int r;

        *hs = (struct helpers){.queue = queue, .fd = -EBADF};
        r = listener_open(path, SOCK_SEQPACKET, 0600, (gid_t)-1, &hs->fd);
        if (r >= 0)
                r = sd_event_add_io(queue->event, &hs->io, hs->fd, EPOLLIN, on_accept, hs);
        return r < 0 ? failure_set(f, r, "cannot listen on %s: %s", path, strerror(-r)) : 0;
}

void helpers_done(struct helpers *hs)
{
        if (!hs->queue)
                return;
        while (hs->list)
                helper_free(hs->list);
        sd_event_source_disable_unref(hs->io);
        close_fd(hs->fd);
        *hs = (struct helpers){};
}
