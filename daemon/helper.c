/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/helper.h"

#include "common/log.h"
#include "daemon/job-journal.h"

#include <sys/epoll.h>

static int on_io(sd_event_source *s, int socket, uint32_t revents, void *userdata)
{
        struct helper *h = userdata;
        struct handoff_message m;
        struct failure f = {};
        int fd = -EBADF;
        int r = handoff_receive(h->fd, &m, &fd, &f);

        if (r == -EAGAIN)
                return 0;
        if (r == 0)
                h->handlers->closed(h, "cprd-handoff ended without an outcome");
        else if (r < 0)
                h->handlers->closed(h, f.what[0] ? f.what : strerror(-r));
        else
                h->handlers->message(h, &m, fd);
        return 0;
}

int helper_new(sd_event *event, int fd, struct helper **list, const struct helper_handlers *handlers,
               void *userdata, struct helper **ret)
{
        struct helper *h = mem_new(1, sizeof(*h));
        int r = sd_event_add_io(event, &h->io, fd, EPOLLIN, on_io, h);

        if (r < 0) {
                free(h);
                return r;
        }
        sd_event_source_set_description(h->io, "cprd-handoff");
        h->fd = fd;
        h->handlers = handlers;
        h->userdata = userdata;
        h->next = *list;
        h->at = list;
        if (h->next)
                h->next->at = &h->next;
        *list = h;
        if (ret)
                *ret = h;
        return 0;
}

void helper_free(struct helper *h)
{
        if (!h)
                return;
        *h->at = h->next;
        if (h->next)
                h->next->at = h->at;
        if (h->job)
                h->job->helper = NULL;
        sd_event_source_disable_unref(h->io);
        close_fd(h->fd);
        free(h);
}

void helper_bind(struct helper *h, struct job *j)
{
        h->job = j;
        j->helper = h;
}

static int send_kept(struct helper *h, const struct kept *k)
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

        return handoff_send(h->fd, &m, k->fd);
}

int helper_send_order(struct helper *h)
{
        struct handoff_message order = HANDOFF_MESSAGE(HANDOFF_ORDER), begin = HANDOFF_MESSAGE(HANDOFF_BEGIN);
        _cleanup_close_ int journal = job_journal_open(h->job);
        int r;

        if (journal < 0)
                return journal;
        snprintf(order.name, sizeof(order.name), "%s", h->job->id);
        r = handoff_send(h->fd, &order, journal);
        for (size_t i = 0; r >= 0 && i < h->job->custody.n; i++)
                r = send_kept(h, &h->job->custody.kept[i]);
        if (r >= 0)
                r = handoff_send(h->fd, &begin, -EBADF);
        return r;
}

void helper_abort(struct helper *h)
{
        struct handoff_message m = HANDOFF_MESSAGE(HANDOFF_ABORT);
        int r = handoff_send(h->fd, &m, -EBADF);

        if (r < 0)
                log_full(LOG_WARNING, h->job->name, h->job->id, "cannot tell cprd-handoff to roll back: %s",
                         strerror(-r));
}
