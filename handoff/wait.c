/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/wait.h"

#include "handoff/freeze.h"
#include "handoff/runstate.h"
#include "handoff/trace.h"

#include <poll.h>

enum {
        POLL_SIGNAL,
        POLL_CPRD,
        POLL_SOURCE,
        POLL_DESTINATION,
        POLL_SOURCE_QMP,
        POLL_DESTINATION_QMP,
        POLL_RELAY
};
#define N_POLL (POLL_RELAY + RELAY_N_POLL)

/* The source's first STOP after `migrate`: the migration's, or somebody else's (source.h). */
static void note_stop(struct handoff *h)
{
        json_object *stop;

        if (!h->source.events || h->pause_began)
                return;
        stop = qmp_event(h->source.qmp, "STOP", h->source.events - 1, NULL);
        if (!stop)
                return;
        h->pause_began = now_usec();
        h->stop_usec = qmp_event_usec(stop);
        h->source.stopped_early = !h->relay.hung_up;
}

static void watch(struct handoff *h, struct pollfd fds[static N_POLL])
{
        struct destination *d = &h->destination;
        const struct pollfd all[POLL_RELAY] = {
                [POLL_SIGNAL] = {.fd = tracee_signal_fd()},
                [POLL_CPRD] = {.fd = h->link.fd},
                /* Once dead a pidfd stays readable. */
                [POLL_SOURCE] = {.fd = h->source.is_dead ? -1 : h->source.process.pidfd},
                [POLL_DESTINATION] = {.fd = d->is_dead ? -1 : d->process.pidfd},
                [POLL_SOURCE_QMP] = {.fd = h->source.qmp ? qmp_fd(h->source.qmp) : -1},
                [POLL_DESTINATION_QMP] = {.fd = d->qmp ? qmp_fd(d->qmp) : -1},
        };

        memcpy(fds, all, sizeof(all));
        for (size_t i = 0; i < POLL_RELAY; i++)
                fds[i].events = POLLIN;
        relay_poll(&h->relay, fds + POLL_RELAY);
}

/* Which of them have news, by one system call: a guest waits for each of those in the pause. */
static void look(struct handoff *h, struct pollfd fds[static N_POLL])
{
        watch(h, fds);
        if (poll(fds, N_POLL, 0) >= 0)
                return;
        for (size_t i = 0; i < N_POLL; i++)
                fds[i].revents = fds[i].fd >= 0 ? POLLIN : 0;
}

/* The signal that tells of a tracee may have been taken by whoever waited for the other one. */
static int take_stops(struct handoff *h, struct failure *f)
{
        struct tracee *t = &h->destination.tracee;

        while (tracee_poll(t) > 0 && t->stopped) {
                int r = trace_on_stop(h, f);

                if (r < 0)
                        return r;
        }
        freeze_poll(h);
        return 0;
}

/* Takes in everything that has happened, without judging it. */
static int take_news(struct handoff *h, struct failure *f)
{
        struct source *s = &h->source;
        struct destination *d = &h->destination;
        struct pollfd fds[N_POLL];
        int r = take_stops(h, f);

        if (r < 0)
                return r;
        look(h, fds);
        if (!relay_has_passed(&h->relay))
                relay_move(&h->relay);
        if (fds[POLL_SOURCE_QMP].revents)
                qmp_read(s->qmp);
        if (s->qmp)
                note_stop(h);
        if (fds[POLL_DESTINATION_QMP].revents)
                qmp_read(d->qmp);
        s->is_dead = s->is_dead || fds[POLL_SOURCE].revents;
        d->is_dead = d->is_dead || fds[POLL_DESTINATION].revents;
        if (h->link.fd < 0 || fds[POLL_CPRD].revents)
                link_read(&h->link);
        return 0;
}

/* There is no way back to a dead source: then the only way is forward, however late it is. */
static bool may_turn_back(const struct handoff *h)
{
        return !h->facts.committed && !h->source.is_dead;
}

static bool is_over_budget(const struct handoff *h, uint64_t now)
{
        return (h->step.flags & COUNTS_PAUSE) && h->pause_began && now > h->pause_began + h->order.max_pause;
}

/* The news that ends the current step. */
static int judge_news(struct handoff *h, struct failure *f)
{
        const unsigned flags = h->step.flags;
        uint64_t now = now_usec();

        if (may_turn_back(h)) {
                if ((flags & CANCELLABLE) && h->link.aborted)
                        return failure_set(f, ECANCELED, "it was cancelled");
                if ((flags & CANCELLABLE) && h->source.stopped_early)
                        return runstate_note(h, "paused", f);
                if (is_over_budget(h, now))
                        return failure_set(f, ETIME, "the pause budget of %llu ms is used up",
                                           (unsigned long long)(h->order.max_pause / USEC_PER_MSEC));
        }
        if ((flags & NEEDS_DESTINATION) && h->destination.is_dead)
                return handoff_obituary(h, f);
        if ((flags & NEEDS_DESTINATION) && h->relay.failure.error)
                return process_exits(&h->destination.process, PROCESS_DYING_MSEC)
                               ? handoff_obituary(h, f)
                               : failure_pass(f, &h->relay.failure);
        if ((flags & NEEDS_SOURCE) && h->source.is_dead)
                return failure_set(f, ESRCH, "the source (process %d) has exited", h->source.process.pid);
        if (now >= h->step.deadline)
                return failure_set(f, ETIMEDOUT, "its deadline has passed");
        return 0;
}

int wait_look(struct handoff *h, struct failure *f)
{
        int r = take_news(h, f);

        return r < 0 ? r : judge_news(h, f);
}

static uint64_t wake_up_time(const struct handoff *h, uint64_t until)
{
        if (h->step.deadline < until)
                until = h->step.deadline;
        if ((h->step.flags & COUNTS_PAUSE) && h->pause_began && may_turn_back(h) &&
            h->pause_began + h->order.max_pause < until)
                until = h->pause_began + h->order.max_pause + 1;
        return h->link.fd < 0 && h->link.retry < until ? h->link.retry : until;
}

static void sleep_until_news(struct handoff *h, uint64_t until)
{
        struct pollfd fds[N_POLL];
        uint64_t now = now_usec();
        struct timespec left;

        until = wake_up_time(h, until);
        if (until < now)
                until = now;
        watch(h, fds);
        left.tv_sec = (time_t)((until - now) / USEC_PER_SEC);
        left.tv_nsec = (long)((until - now) % USEC_PER_SEC * NSEC_PER_USEC);
        ppoll(fds, N_POLL, &left, NULL);
}

static int wait_to(struct handoff *h, uint64_t until, int (*ready)(struct handoff *h, void *userdata),
                   void *userdata, struct failure *f)
{
        for (;;) {
                int r = take_news(h, f);

                if (r >= 0)
                        r = ready(h, userdata);
                if (r == 0)
                        r = judge_news(h, f);
                if (r != 0 || now_usec() >= until)
                        return r;
                sleep_until_news(h, until);
        }
}

int wait_until(struct handoff *h, int (*ready)(struct handoff *h, void *userdata), void *userdata,
               struct failure *f)
{
        return wait_to(h, UINT64_MAX, ready, userdata, f);
}

int wait_at_most(struct handoff *h, uint64_t usec, int (*ready)(struct handoff *h, void *userdata),
                 void *userdata, struct failure *f)
{
        return wait_to(h, now_usec() + usec, ready, userdata, f);
}

/* A destination that dies takes its QMP connection with it: then its last words say more than the end of the
 * connection. */
static int explain(struct handoff *h, struct qmp *q, int r, struct failure *f)
{
        if (r < 0 && q == h->destination.qmp && qmp_error(q) &&
            process_exits(&h->destination.process, PROCESS_DYING_MSEC))
                return handoff_obituary(h, f);
        return r;
}

struct qmp_wait {
        struct qmp *qmp;
        struct failure *f;
        json_object **ret;
        const char *name;
        uint64_t after;
        uint64_t *ret_usec;
};

static int has_reply(struct handoff *h, void *userdata)
{
        struct qmp_wait *w = userdata;

        return qmp_reply(w->qmp, w->ret, w->f);
}

int wait_qmp(struct handoff *h, struct qmp *q, const char *command, json_object *arguments,
             json_object **ret_result, struct failure *f)
{
        return wait_qmp_fd(h, q, command, arguments, -EBADF, ret_result, f);
}

int wait_qmp_fd(struct handoff *h, struct qmp *q, const char *command, json_object *arguments, int pass_fd,
                json_object **ret_result, struct failure *f)
{
        qmp_send(q, command, arguments, pass_fd); /* if it fails, so will the wait */
        return wait_reply(h, q, command, ret_result, f);
}

int wait_reply(struct handoff *h, struct qmp *q, const char *command, json_object **ret_result,
               struct failure *f)
{
        struct failure inner = {};
        struct qmp_wait w = {.qmp = q, .f = &inner, .ret = ret_result};
        int r = wait_until(h, has_reply, &w, &inner);

        if (r < 0 && qmp_error(q))
                r = explain(h, q, r, f);
        if (r < 0)
                return failure_set(f, r, "QMP %s: %s", command, inner.what[0] ? inner.what : strerror(-r));
        return r;
}

struct batch_wait {
        struct qmp *qmp[2]; /* NULL: it is answered */
        struct failure *f;
};

static int has_answers(struct handoff *h, void *userdata)
{
        struct batch_wait *w = userdata;

        for (size_t i = 0; i < ELEMENTSOF(w->qmp); i++) {
                int r = w->qmp[i] ? qmp_answers(w->qmp[i], w->f) : 0;

                if (r < 0)
                        return explain(h, w->qmp[i], r, w->f);
                if (r > 0)
                        w->qmp[i] = NULL;
        }
        return !w->qmp[0] && !w->qmp[1];
}

int wait_answers(struct handoff *h, struct qmp_question *to_source, size_t n_to_source,
                 struct qmp_question *to_destination, size_t n_to_destination, struct failure *f)
{
        struct batch_wait w = {
                {n_to_source ? h->source.qmp : NULL, n_to_destination ? h->destination.qmp : NULL}, f};
        int r;

        if (w.qmp[0])
                qmp_ask(w.qmp[0], to_source, n_to_source);
        if (w.qmp[1])
                qmp_ask(w.qmp[1], to_destination, n_to_destination);
        r = wait_until(h, has_answers, &w, f);
        for (size_t i = 0; i < ELEMENTSOF(w.qmp); i++)
                if (w.qmp[i])
                        qmp_forget(w.qmp[i]);
        return r;
}

static int closed(struct handoff *h, struct qmp_wait *w)
{
        int r = qmp_error(w->qmp);

        if (r == 0)
                return 0;
        r = explain(h, w->qmp, r, w->f);
        return failure_set(w->f, r, "the QMP connection has ended: %s", strerror(-r));
}

static int has_greeting(struct handoff *h, void *userdata)
{
        struct qmp_wait *w = userdata;

        if (qmp_greeting(w->qmp))
                return 1;
        return closed(h, w);
}

int wait_greeting(struct handoff *h, struct qmp *q, uint64_t usec, struct failure *f)
{
        struct qmp_wait w = {.qmp = q, .f = f};
        int r = wait_at_most(h, usec, has_greeting, &w, f);

        if (r == 0)
                return failure_set(f, EBUSY, "it does not answer");
        return r < 0 ? r : wait_qmp(h, q, "qmp_capabilities", NULL, NULL, f);
}

static int has_event(struct handoff *h, void *userdata)
{
        struct qmp_wait *w = userdata;
        json_object *event = qmp_event(w->qmp, w->name, w->after, NULL);

        if (!event)
                return qmp_error(w->qmp)
                               ? failure_set(w->f, qmp_error(w->qmp), "it closed the QMP connection")
                               : 0;
        if (w->ret_usec)
                *w->ret_usec = qmp_event_usec(event);
        return 1;
}

int wait_event(struct handoff *h, struct qmp *q, const char *name, uint64_t after, uint64_t *ret_usec,
               struct failure *f)
{
        struct qmp_wait w = {.qmp = q, .f = f, .name = name, .after = after, .ret_usec = ret_usec};

        return wait_until(h, has_event, &w, f);
}
