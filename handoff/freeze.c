/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/freeze.h"

#include "common/log.h"

#include <sys/ptrace.h>

static int stop(struct handoff *h, struct failure *f)
{
        struct tracee *t = &h->source.tracee;
        int r = t->attached ? 0 : tracee_attach(t, &h->source.process, 0, f);

        return r < 0 ? r : tracee_stop(t, h->step.deadline, f);
}

int freeze_inject(struct handoff *h, struct injection *calls, size_t n, struct failure *f)
{
        struct tracee *t = &h->source.tracee;
        int r = stop(h, f);

        if (r >= 0)
                r = inject_calls(t, calls, n, h->step.deadline, f);
        /* A thread that could not stop in time (it waits for its disk, or for swap) stops later, and is then
         * let go by freeze_poll(), or by the kernel when we end. */
        if (!h->source.frozen && t->stopped)
                tracee_detach(t, h->step.deadline);
        return r;
}

int freeze_begin(struct handoff *h, struct failure *f)
{
        int r = stop(h, f);

        h->source.frozen = r >= 0;
        return r;
}

void freeze_thaw(struct handoff *h)
{
        h->source.frozen = false;
        if (h->source.tracee.stopped)
                tracee_detach(&h->source.tracee, h->step.deadline);
}

void freeze_doom(struct handoff *h, bool doomed)
{
        struct tracee *t = &h->source.tracee;
        long options = PTRACE_O_TRACESYSGOOD | (doomed ? PTRACE_O_EXITKILL : 0);

        if (h->source.frozen && t->stopped && ptrace(PTRACE_SETOPTIONS, t->process->pid, 0, options) < 0)
                log_warning("cannot bind the source to this process: %s", strerror(errno));
}

void freeze_poll(struct handoff *h)
{
        struct tracee *t = &h->source.tracee;

        if (t->attached && !t->stopped)
                tracee_poll(t);
        if (t->stopped && !h->source.frozen)
                tracee_detach(t, h->step.deadline);
}
