/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helpers.h"
#include "common/file.h"

#include "common/log.h"
#include "daemon/listener.h"
#include "proto/handoff.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#define HELPERS_MAX  512
#define SILENCE_USEC (30 * USEC_PER_SEC) /* the longest deadline of a stage by default… */
#define SILENCE_MORE (5 * USEC_PER_SEC)  /* …and how much later something must have come */
#define SILENCE_MAX  (3600 * USEC_PER_SEC)

struct helper {
        struct helper *next;
        struct daemon *daemon;
        int fd;
        sd_event_source *io;
        struct handoff *handoff; /* NULL until its HELLO */
};

struct helpers {
        int fd;
        sd_event_source *io;
        struct helper *list;
        size_t n;
};

static void helper_free(struct helper *p)
{
        struct helpers *all = p->daemon->helpers;
        struct helper **at = &all->list;

        while (*at != p)
                at = &(*at)->next;
        *at = p->next;
        all->n--;
        if (p->handoff)
                p->handoff->helper = NULL;
        sd_event_source_disable_unref(p->io);
        close_fd(p->fd);
        free(p);
}

void helper_detach(struct handoff *h)
{
        if (h->helper)
                helper_free(h->helper);
}

/* The connection is of no more use. What that means is for the handoff to say. */
static void helper_drop(struct helper *p, const char *why)
{
        struct handoff *h = p->handoff;

        if (h) {
                handoff_helper_lost(h, why);
                return;
        }
        log_warning("connection on the handoff socket closed: %s", why);
        helper_free(p);
}

static int send_kept(struct helper *p, const struct kept *k)
{
        static const struct {
                enum handoff_op op;
                enum handoff_role role;
        } as[_CUSTODY_KIND_MAX] = {
                [CUSTODY_SOURCE] = {HANDOFF_PROCESS, HANDOFF_SOURCE},
                [CUSTODY_DESTINATION] = {HANDOFF_PROCESS, HANDOFF_DESTINATION},
                [CUSTODY_DEVICE] = {HANDOFF_DEVICE, HANDOFF_NOBODY},
        };
        struct handoff_message m =
                HANDOFF_MESSAGE(as[k->kind].op, .role = as[k->kind].role, .value = k->value);

        return handoff_send(p->fd, &m, k->fd);
}

/* ORDER, what is in custody, BEGIN. */
static int send_order(struct helper *p)
{
        struct handoff *h = p->handoff;
        struct handoff_message order = HANDOFF_MESSAGE(HANDOFF_ORDER), begin = HANDOFF_MESSAGE(HANDOFF_BEGIN);
        _cleanup_close_ int journal = handoff_open_journal(h, true);
        int r;

        if (journal < 0)
                return journal;
        snprintf(order.name, sizeof(order.name), "%s", h->id);
        r = handoff_send(p->fd, &order, journal);
        for (size_t i = 0; r >= 0 && i < h->custody.n; i++)
                r = send_kept(p, &h->custody.kept[i]);
        if (r >= 0)
                r = handoff_send(p->fd, &begin, -EBADF);
        return r;
}

void helper_abort(struct handoff *h)
{
        struct handoff_message m = HANDOFF_MESSAGE(HANDOFF_ABORT);
        int r = handoff_send(h->helper->fd, &m, -EBADF);

        if (r < 0)
                log_full(LOG_WARNING, h->name, h->id, "cannot tell cprd-handoff to roll back: %s",
                         strerror(-r));
}

uint64_t helper_silence(struct daemon *d)
{
        uint64_t longest = SILENCE_USEC;

        if (!d->config.deadlines)
                return longest + SILENCE_MORE;
        json_object_object_foreach (d->config.deadlines, stage, usec) {
                uint64_t deadline = (uint64_t)json_object_get_int64(usec);

                (void)stage;
                longest = deadline > longest ? (deadline < SILENCE_MAX ? deadline : SILENCE_MAX) : longest;
        }
        return longest + SILENCE_MORE;
}

/* Whose helper this is. value 1: it has its order already, and lost only its connection (cprd restarted). */
static int on_hello(struct helper *p, const struct handoff_message *m)
{
        struct handoff *h = m->role == HANDOFF_HELPER ? handoff_find(p->daemon, m->name) : NULL;
        bool again = m->value == 1;
        int r = 0;

        if (!h) {
                helper_drop(p, m->role == HANDOFF_HELPER ? "no handoff in flight has this id"
                                                         : "only cprd-handoff may connect");
                return 0;
        }
        if (h->helper || h->state == HANDOFF_WAITING || (h->state == HANDOFF_ORPHANED) != again) {
                helper_drop(p, "this handoff has its cprd-handoff, or did not start this one");
                return 0;
        }
        p->handoff = h;
        h->helper = p;
        h->state = HANDOFF_RUNNING;
        handoff_set_timer(h, helper_silence(p->daemon));
        if (!again)
                r = send_order(p);
        if (r < 0) {
                handoff_helper_lost(h, strerror(-r));
                return 0;
        }
        if (again) {
                log_full(LOG_INFO, h->name, h->id, "cprd-handoff is back");
                h->tries++;
        }
        if (h->cancelled)
                helper_abort(h);
        handoff_read(h);
        return 0;
}

static void keep(struct helper *p, enum custody_kind kind, uint64_t value, int fd)
{
        struct failure f = {};

        if (custody_keep(&p->handoff->custody, kind, value, fd, &f) < 0)
                log_full(LOG_WARNING, p->handoff->name, p->handoff->id, "%s", f.what);
}

/* @fd is taken over. */
static void on_message(struct helper *p, const struct handoff_message *m, int fd)
{
        _cleanup_close_ int mine = fd;
        struct handoff *h = p->handoff;

        if (!h && m->op == HANDOFF_HELLO) {
                on_hello(p, m);
                return;
        }
        if (!h) {
                helper_drop(p, "the first message was not HELLO");
                return;
        }
        handoff_set_timer(h, helper_silence(p->daemon));
        if (m->op == HANDOFF_DEVICE) {
                keep(p, CUSTODY_DEVICE, m->value, TAKE_FD(mine));
        } else if (m->op == HANDOFF_PROCESS && m->role == HANDOFF_DESTINATION) {
                keep(p, CUSTODY_DESTINATION, 0, TAKE_FD(mine));
        } else if (m->op == HANDOFF_PROCESS && m->role == HANDOFF_SOURCE) {
                keep(p, CUSTODY_SOURCE, 0, TAKE_FD(mine));
        } else if (m->op == HANDOFF_RECORD) {
                handoff_read(h);
        } else if (m->op == HANDOFF_DONE) {
                handoff_helper_done(h);
        } else {
                char why[64];

                snprintf(why, sizeof(why), "cprd-handoff sent %s", handoff_op_name(m->op));
                handoff_helper_lost(h, why);
        }
}

static int on_io(sd_event_source *s, int socket, uint32_t revents, void *userdata)
{
        struct helper *p = userdata;
        struct handoff_message m;
        struct failure f = {};
        int fd = -EBADF;
        int r = handoff_receive(p->fd, &m, &fd, &f);

        if (r == -EAGAIN)
                return 0;
        if (r == 0)
                helper_drop(p, "cprd-handoff ended without an outcome");
        else if (r < 0)
                helper_drop(p, f.what[0] ? f.what : strerror(-r));
        else
                on_message(p, &m, fd);
        return 0;
}

int helpers_adopt(struct daemon *d, int fd)
{
        _cleanup_close_ int mine = fd;
        struct ucred peer;
        socklen_t size = sizeof(peer);
        struct helper *p;
        int r;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        if ((peer.uid != 0 && peer.uid != geteuid()) || d->helpers->n >= HELPERS_MAX)
                return -EPERM;
        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->daemon = d;
        r = sd_event_add_io(d->event, &p->io, fd, EPOLLIN, on_io, p);
        if (r < 0) {
                free(p);
                return r;
        }
        sd_event_source_set_description(p->io, "cprd-handoff");
        p->fd = TAKE_FD(mine);
        p->next = d->helpers->list;
        d->helpers->list = p;
        d->helpers->n++;
        return 0;
}

static int on_accept(sd_event_source *s, int socket, uint32_t revents, void *userdata)
{
        int fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int r = fd < 0 ? -errno : helpers_adopt(userdata, fd);

        if (r < 0 && r != -EAGAIN)
                log_warning("connection on the handoff socket refused: %s", strerror(-r));
        return 0;
}

static int helpers_new(struct daemon *d)
{
        d->helpers = calloc(1, sizeof(*d->helpers));
        if (!d->helpers)
                return -ENOMEM;
        d->helpers->fd = -EBADF;
        return 0;
}

int helpers_listen(struct daemon *d, struct failure *f)
{
        _cleanup_free_ char *path = file_path(d->runtime, "handoff");
        int r = helpers_new(d);

        if (r >= 0)
                r = listener_open(path, SOCK_SEQPACKET, 0600, (gid_t)-1, &d->helpers->fd);
        if (r >= 0)
                r = sd_event_add_io(d->event, &d->helpers->io, d->helpers->fd, EPOLLIN, on_accept, d);
        return r < 0 ? failure_set(f, r, "cannot listen on %s: %s", path, strerror(-r)) : 0;
}

void helpers_free(struct daemon *d)
{
        struct helpers *all = d->helpers;

        if (!all)
                return;
        while (all->list)
                helper_free(all->list);
        sd_event_source_disable_unref(all->io);
        close_fd(all->fd);
        free(all);
        d->helpers = NULL;
}
