/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/heap.h"

#include "common/log.h"
#include "handoff/trace.h"
#include "handoff/wait.h"

#include <sys/ptrace.h>
#include <sys/resource.h>

/* How much is locked at a time. The kernel clears missing pages, at up to 0.5 ms per MiB, and more if it has
 * to find them first. */
#define STEP (4UL << 20)

static int find_heap(const struct process *p, struct heap_facts *ret)
{
        _cleanup_free_ char *maps = NULL;
        unsigned long from, to;
        char *name;
        int r = process_read(p, "maps", 4U << 20, &maps, NULL);

        if (r < 0)
                return r;
        name = strstr(maps, "[heap]\n");
        if (!name)
                return -ENOENT;
        *name = '\0';
        name = strrchr(maps, '\n');
        if (sscanf(name ? name + 1 : maps, "%lx-%lx", &from, &to) != 2 || to <= from)
                return -EBADMSG;
        *ret = (struct heap_facts){.address = (int64_t)from, .size = (int64_t)(to - from)};
        return 0;
}

/* Looks for news between the steps: a large heap must not make this process deaf. */
static int lock_steps(struct handoff *h, struct failure *f)
{
        struct tracee *t = &h->destination.tracee;
        uint64_t address = (uint64_t)h->facts.heap.address, end = address + (uint64_t)h->facts.heap.size;

        for (int r = 0; address < end; address += STEP) {
                struct injection call = {.nr = SYS_mlock,
                                         .arguments = {address, end - address < STEP ? end - address : STEP}};
                struct failure why = {};

                r = inject_calls(t, &call, 1, h->step.deadline, &why);
                if (r < 0 && !t->stopped)
                        return r == -ESRCH ? handoff_obituary(h, f) : failure_pass(f, &why);
                if (r < 0) {
                        log_debug("the destination's heap is not locked: %s", why.what);
                        return 0;
                }
                r = wait_look(h, f);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* QEMU's limit is not made for this, so it is raised by just this much, for just these calls. If this process
 * dies meanwhile, the destination dies with it. */
static int lock_within_limit(struct handoff *h, struct failure *f)
{
        pid_t pid = h->destination.process.pid;
        struct rlimit its, raised;
        bool lifted = prlimit(pid, RLIMIT_MEMLOCK, NULL, &its) == 0 && its.rlim_cur != RLIM_INFINITY;
        int r;

        if (lifted) {
                raised = (struct rlimit){its.rlim_cur + (rlim_t)h->facts.heap.size, its.rlim_max};
                if (raised.rlim_max < raised.rlim_cur)
                        raised.rlim_max = raised.rlim_cur;
                lifted = prlimit(pid, RLIMIT_MEMLOCK, &raised, NULL) == 0;
        }
        r = lock_steps(h, f);
        if (lifted)
                prlimit(pid, RLIMIT_MEMLOCK, &its, NULL);
        return r;
}

int heap_lock(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        uint64_t locked = 0;
        int r;

        /* A QEMU that locks its memory itself (-overcommit mem-lock=on) has already done this. */
        if (process_status_number(&d->process, "VmLck", 10, &locked) < 0 || locked ||
            find_heap(&d->process, &h->facts.heap) < 0)
                return 0;
        /* Noted before it is locked, for whoever has to unlock it: a call that fails may have locked a
         * part. */
        r = handoff_note(h, "heap", f);
        if (r >= 0)
                r = trace_stop(h, f);
        if (r < 0)
                return r;
        r = lock_within_limit(h, f);
        return r < 0 ? r : tracee_resume(&d->tracee, PTRACE_CONT, 0);
}

int heap_unlock(struct handoff *h, struct failure *f)
{
        struct injection call = {
                .nr = SYS_munlock,
                .arguments = {(uint64_t)h->facts.heap.address, (uint64_t)h->facts.heap.size}};
        int r = h->facts.heap.size ? inject_calls(&h->destination.tracee, &call, 1, h->step.deadline, f) : 0;

        /* ENOMEM: it has shrunk meanwhile; what is left of it is unlocked. */
        return r == -ENOMEM ? 0 : r;
}
