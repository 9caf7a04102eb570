/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/destination.h"

#include "common/log.h"
#include "handoff/freeze.h"
#include "handoff/heap.h"
#include "handoff/listeners.h"
#include "handoff/mend.h"
#include "handoff/resources.h"
#include "handoff/sandbox.h"
#include "handoff/start.h"
#include "handoff/trace.h"
#include "handoff/wait.h"

#include <fcntl.h>
#include <linux/vhost.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

void destination_clean_up(struct handoff *h)
{
        resources_forget(h);
        channels_remove(&h->destination.channels);
}

/* ---- launch ---- */

static int listens(struct handoff *h, void *userdata)
{
        return h->destination.channels.cpr_listens;
}

int destination_launch(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        int r = channels_make(&d->channels, (uid_t)h->facts.source.uid, (gid_t)h->facts.source.gid, f);

        if (r >= 0)
                r = resources_make(h, f);
        if (r >= 0)
                r = start_destination(h, f);
        resources_launched(h);
        if (r < 0)
                return r;
        d->withholds = resources_withhold;
        d->withhold.active = true;
        r = tracee_resume(&d->tracee, PTRACE_SYSCALL, 0);
        if (r >= 0)
                r = sandbox_enter(f);
        return r < 0 ? r : wait_until(h, listens, NULL, f);
}

static int has_exited(struct handoff *h, void *userdata)
{
        return h->destination.is_dead;
}

int destination_kill(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        int r = 0;

        if (d->process.pidfd >= 0 && !d->is_dead) {
                pidfd_send_signal(d->process.pidfd, SIGKILL, NULL, 0);
                r = wait_until(h, has_exited, NULL, f);
        }
        if (r < 0)
                return r;
        if (d->process.pid > 0)
                waitpid(d->process.pid, NULL, WNOHANG | __WALL); /* in a recovery it is not our child */
        d->qmp = qmp_free(d->qmp);
        destination_clean_up(h);
        return 0;
}

/* ---- build ---- */

static const struct vm_socket *qmp_listener(const struct handoff *h)
{
        for (size_t i = 0; i < h->destination.cmdline_facts.n_listeners; i++)
                if (STREQ(h->destination.cmdline_facts.listeners[i].path, h->order.qmp))
                        return &h->destination.cmdline_facts.listeners[i];
        return NULL;
}

static int connect_destination(struct handoff *h, struct failure *f)
{
        const struct vm_socket *l = qmp_listener(h);
        _cleanup_(qmp_freep) struct qmp *q = NULL;
        char name[LISTENER_NAME_MAX];
        int r;

        if (!l)
                return failure_set(f, ENOENT, "no QMP server of the destination will be at %s", h->order.qmp);
        r = listener_name(h, l, name);
        if (r >= 0)
                r = qmp_connect(name, &q, f);
        if (r == -ENOENT) /* a recovery after its publication */
                r = qmp_connect(l->path, &q, f);
        if (r < 0)
                return r;
        /* Before its publication the path is the source's, which must never get a `cont`. */
        if (qmp_peer_pid(q) != h->destination.process.pid)
                return failure_set(f, EBADF, "process %d answers instead of the destination",
                                   qmp_peer_pid(q));
        h->destination.qmp = TAKE_PTR(q);
        return 0;
}

static int is_built(struct handoff *h, void *userdata)
{
        return trace_is_built(h);
}

/* Its backend features are the source's too, as the command line is the same. */
static int note_device(struct handoff *h, struct failure *f)
{
        const struct withhold *w = &h->destination.withhold;

        if (!w->n)
                return failure_set(f, EPROTO, "the destination did not build its vhost-vsock device");
        h->facts.device.backend_features = (int64_t)withhold_value(w, VHOST_SET_BACKEND_FEATURES);
        return handoff_note(h, "device", f);
}

/* Its answer shows that its main loop runs, so everything before the load is done. The source keeps running
 * as long as that takes. */
int destination_build(struct handoff *h, struct failure *f)
{
        int r = connect_destination(h, f);

        if (r >= 0)
                r = qmp_send(h->destination.qmp, "qmp_capabilities", NULL, -EBADF);
        if (r >= 0)
                r = wait_until(h, is_built, NULL, f);
        if (r >= 0)
                r = note_device(h, f);
        if (r >= 0)
                r = wait_reply(h, h->destination.qmp, "qmp_capabilities", NULL, f);
        return r < 0 ? r : mend_throttling(h, f);
}

/* ---- commit ---- */

static int is_running(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *status = NULL;
        int r = wait_qmp(h, h->destination.qmp, "query-status", NULL, &status, f);

        return r < 0 ? r : json_flag(status, "running");
}

/* `cont`, unless an earlier attempt already sent it: then there is no other RESUME to wait for. */
static int start_guest(struct handoff *h, bool again, struct failure *f)
{
        struct qmp *q = h->destination.qmp;
        uint64_t seen = qmp_event_count(q);
        int r = again ? is_running(h, f) : 0;

        if (r != 0)
                return r;
        r = wait_qmp(h, q, "cont", NULL, NULL, f);
        return r < 0 ? r : wait_event(h, q, "RESUME", seen, &h->resume_usec, f);
}

/* Whether it is about to exit: a signal is pending, or was let in, or it has announced the exit itself. */
static bool is_leaving(const struct destination *d)
{
        const uint64_t ends =
                1ULL << (SIGKILL - 1) | 1ULL << (SIGTERM - 1) | 1ULL << (SIGINT - 1) | 1ULL << (SIGHUP - 1);
        uint64_t pending = 0;

        process_pending_signals(&d->process, &pending);
        if (d->qmp)
                qmp_read(d->qmp);
        return ((pending | d->tracee.signals) & ends) || (d->qmp && qmp_event(d->qmp, "SHUTDOWN", 0, NULL));
}

/* The point of no return, in this order: as long as the destination is traced it dies with us, and nothing is
 * committed; once it is committed it must outlive us, and the source must not. */
static int pass_the_point(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        int r;

        if (is_leaving(d))
                return failure_set(f, ECANCELED, "the destination was told to exit");
        if (tracee_detach(&d->tracee, h->step.deadline) < 0) {
                obituary_await(&h->destination.obituary, &h->destination.tracee, PROCESS_DYING_MSEC, f);
                return failure_set(f, ESRCH, "the destination was killed");
        }
        h->facts.committed = true;
        r = handoff_note(h, "committed", f);
        h->facts.committed = r >= 0;
        if (r >= 0)
                freeze_doom(h, true);
        return r;
}

/* QEMU has refused to run the guest (it cannot lock a disk, for example): then nothing has happened yet, and
 * the source can still resume. */
static int back_from_the_point(struct handoff *h, int r, struct failure *f)
{
        if (r != -EREMOTEIO || h->source.is_dead || is_running(h, NULL) != 0)
                return r;
        h->facts.committed = false;
        if (handoff_note(h, "committed", NULL) < 0)
                h->facts.committed = true;
        else
                freeze_doom(h, false);
        return r;
}

static void note_pause(struct handoff *h)
{
        if (!h->stop_usec || h->resume_usec <= h->stop_usec)
                return;
        h->facts.pause = (int64_t)(h->resume_usec - h->stop_usec);
        handoff_note(h, "pause", NULL);
}

int destination_commit(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        bool again = h->facts.committed;
        struct failure why = {};
        int r = again ? 0 : pass_the_point(h, f);

        if (r < 0)
                return r;
        /* The process that held the source may have died before it tied the source's life to its own. */
        if (!h->source.frozen && !h->source.is_dead && freeze_begin(h, NULL) >= 0)
                freeze_doom(h, true);
        if (!d->qmp) {
                r = connect_destination(h, f);
                if (r >= 0)
                        r = wait_greeting(h, d->qmp, h->step.deadline - now_usec(), f);
        }
        if (r >= 0)
                r = start_guest(h, again, f);
        handoff_hurry(h, false);
        if (r < 0)
                return back_from_the_point(h, r, f);
        note_pause(h);
        if (resources_move(h, &why) < 0) /* tried again in retire */
                log_failure(LOG_WARNING, &why,
                            "not everything that the guest is connected to is the destination's");
        return 0;
}

/* ---- retire ---- */

/* Replaces the log that it had until here with the source's stderr. */
static int restore_stderr(struct handoff *h, struct failure *f)
{
        struct injection calls[] = {{.nr = SYS_dup3, .arguments = {FD_STDERR, 2, 0}},
                                    {.nr = SYS_close, .arguments = {FD_STDERR}}};
        int r = inject_calls(&h->destination.tracee, calls, ELEMENTSOF(calls), h->step.deadline, f);

        return r == -EBADF ? 0 : r; /* already done */
}

/* Until now the OOM killer was to choose it before the source. */
static int restore_oom_score(const struct handoff *h, struct failure *f)
{
        const struct destination *d = &h->destination;
        _cleanup_close_ int fd = openat(d->process.proc_fd, "oom_score_adj", O_WRONLY | O_CLOEXEC);

        return fd < 0 || dprintf(fd, "%d", (int)h->facts.destination.oom_score_adj) < 0
                       ? failure_set(f, errno, "cannot set its oom_score_adj: %s", strerror(errno))
                       : 0;
}

/* Not earlier: it would be part of the pause. If the helper dies before, that costs log lines and memory that
 * stays locked, no more. */
void destination_settle(struct handoff *h)
{
        struct destination *d = &h->destination;
        struct failure f = {};
        int r = d->is_dead ? 0 : tracee_attach(&d->tracee, &d->process, 0, &f);

        if (d->is_dead)
                return;
        if (r >= 0)
                r = restore_oom_score(h, &f);
        if (r >= 0)
                r = tracee_stop(&d->tracee, h->step.deadline, &f);
        if (r >= 0)
                r = heap_unlock(h, &f);
        if (r >= 0)
                r = restore_stderr(h, &f);
        tracee_detach(&d->tracee, h->step.deadline);
        if (r < 0)
                log_failure(LOG_WARNING, &f, "the destination keeps what was for the handoff only");
}
