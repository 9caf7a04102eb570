/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/trace.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* When it binds its main channel, all of its devices exist and the state comes next: its system calls are
 * traced only up to there, long before the pause begins. */
static int on_syscall(struct handoff *h)
{
        struct destination *d = &h->destination;
        struct attempt attempt;
        struct tracee_call call;
        int r = tracee_get_call(&d->tracee, &call);

        if (r < 0)
                return r;
        channels_note(&d->channels, &d->tracee, &call);
        d->withhold.active = !d->channels.main_bound;
        attempt = (struct attempt){(int)call.arguments[0], call.arguments[1]};
        return withhold_note(&d->withhold, &d->tracee, &call,
                             call.nr == SYS_ioctl && d->withholds(h, &attempt));
}

int trace_on_stop(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        int r = 0;

        if (WSTOPSIG(d->tracee.status) == (SIGTRAP | 0x80))
                r = on_syscall(h);
        if (r < 0)
                return failure_set(f, r, "cannot withhold an ioctl of the destination: %s", strerror(-r));
        r = tracee_resume(&d->tracee, trace_is_built(h) ? PTRACE_CONT : PTRACE_SYSCALL,
                          tracee_stop_signal(&d->tracee));
        return r == -ESRCH ? 0 : r; /* killed just now: its pidfd will tell */
}

bool trace_is_built(const struct handoff *h)
{
        return !h->destination.withhold.active && !h->destination.withhold.skipping;
}

int trace_stop(struct handoff *h, struct failure *f)
{
        struct failure why = {};
        int r = tracee_stop(&h->destination.tracee, h->step.deadline, &why);

        if (r == -ESRCH)
                return handoff_obituary(h, f);
        return r < 0 ? failure_pass(f, &why) : 0;
}
