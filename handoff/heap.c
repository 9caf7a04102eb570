/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/heap.h"

#include "common/log.h"
#include "handoff/destination.h"

#include <sys/ptrace.h>
#include <sys/resource.h>

/* Locked at a time. The kernel clears pages that are not there, up to 0.5 ms for each MiB, and more if it has
 * to find them first. */
#define STEP (4UL << 20)

static int find_heap(const struct process *p, uint64_t *ret_address, uint64_t *ret_size)
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
        *ret_address = from;
        *ret_size = to - from;
        return 0;
}

static int lock_steps(struct handoff *h, uint64_t until, struct failure *f)
{
        struct destination *d = &h->destination;
        uint64_t address = d->heap_address, end = d->heap_address + d->heap_size;
        int r = 0;

        for (; r >= 0 && address < end && now_usec() < until; address += STEP) {
                struct injection call = {.nr = SYS_mlock,
                                         .arguments = {address, end - address < STEP ? end - address : STEP}};

                r = inject_calls(&d->tracee, &call, 1, h->deadline, f);
        }
        return r;
}

/* QEMU's limit is not made for this, so it does not count for these calls. */
static int lock_unlimited(struct handoff *h, uint64_t until, struct failure *f)
{
        const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
        struct rlimit its;
        bool lifted = prlimit(h->destination.process.pid, RLIMIT_MEMLOCK, &none, &its) == 0;
        int r = lock_steps(h, until, f);

        if (lifted)
                prlimit(h->destination.process.pid, RLIMIT_MEMLOCK, &its, NULL);
        return r;
}

/* Before it is locked, for whoever has to unlock it: a call that fails may have locked a part. */
static int note_heap(struct handoff *h, uint64_t address, uint64_t size, struct failure *f)
{
        json_object *fact = json_object_new_object();

        h->destination.heap_address = address;
        h->destination.heap_size = size;
        json_add_int(fact, "address", (int64_t)address);
        json_add_int(fact, "size", (int64_t)size);
        return handoff_fact(h, "heap", fact, f);
}

int heap_lock(struct handoff *h, uint64_t until, struct failure *f)
{
        struct destination *d = &h->destination;
        struct failure why = {};
        uint64_t address, size, locked = 0;
        int r;

        /* One that locks its memory itself (-overcommit mem-lock=on) has done this already. */
        if (process_status_number(&d->process, "VmLck", 10, &locked) < 0 || locked ||
            find_heap(&d->process, &address, &size) < 0)
                return 0;
        r = note_heap(h, address, size, f);
        if (r >= 0)
                r = destination_stop(h, f);
        if (r < 0)
                return r;
        r = lock_unlimited(h, until, &why);
        if (r == -ESRCH)
                return destination_obituary(h, f);
        if (!d->tracee.stopped)
                return failure_set(f, r, "cannot lock the destination's heap: %s", why.what);
        if (r < 0)
                log_debug("the destination's heap is not locked: %s", why.what);
        tracee_resume(&d->tracee, PTRACE_CONT, 0);
        return 0;
}

int heap_unlock(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection call = {.nr = SYS_munlock, .arguments = {d->heap_address, d->heap_size}};
        int r = d->heap_size ? inject_calls(&d->tracee, &call, 1, h->deadline, f) : 0;

        /* ENOMEM: it has shrunk meanwhile; what is left of it is unlocked. */
        return r == -ENOMEM ? 0 : r;
}
