/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/handoff/heap.h"

#include "daemon/handoff/destination.h"
#include "daemon/log.h"

#include <sys/ptrace.h>
#include <sys/resource.h>

/* To lock a page that is not there the kernel clears it: up to 0.5 ms for each MiB, and the source is held.
 */
#define HEAP_MAX (64UL << 20)

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

/* QEMU's limit is not made for this, so it does not count for this one call. */
static int lock_unlimited(struct handoff *h, uint64_t address, uint64_t size, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection call = {.nr = SYS_mlock, .arguments = {address, size}};
        const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
        struct rlimit its;
        bool lifted = prlimit(d->process.pid, RLIMIT_MEMLOCK, &none, &its) == 0;
        int r = inject_calls(&d->tracee, &call, 1, h->deadline, f);

        if (lifted)
                prlimit(d->process.pid, RLIMIT_MEMLOCK, &its, NULL);
        return r;
}

/* That it is locked, for whoever has to unlock it. */
static int note_locked(struct handoff *h, uint64_t address, uint64_t size, struct failure *f)
{
        json_object *fact = json_object_new_object();

        h->destination.heap_address = address;
        h->destination.heap_size = size;
        json_add_int(fact, "address", (int64_t)address);
        json_add_int(fact, "size", (int64_t)size);
        return handoff_fact(h, "heap", fact, f);
}

int heap_lock(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct failure why = {};
        uint64_t address, size, locked = 0;
        int r;

        /* One that locks its memory itself (-overcommit mem-lock=on) has done this already. */
        if (process_status_number(&d->process, "VmLck", 10, &locked) < 0 || locked ||
            find_heap(&d->process, &address, &size) < 0 || size > HEAP_MAX)
                return 0;
        r = destination_stop(h, f);
        if (r < 0)
                return r;
        r = lock_unlimited(h, address, size, &why);
        if (r == -ESRCH)
                return destination_obituary(h, f);
        if (!d->tracee.stopped)
                return failure_set(f, r, "cannot lock the destination's heap: %s", why.what);
        if (r < 0)
                log_debug("the destination's heap stays as it is: %s", why.what);
        r = r < 0 ? 0 : note_locked(h, address, size, f);
        tracee_resume(&d->tracee, PTRACE_CONT, 0);
        return r;
}

int heap_unlock(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection call = {.nr = SYS_munlock, .arguments = {d->heap_address, d->heap_size}};
        int r = d->heap_size ? inject_calls(&d->tracee, &call, 1, h->deadline, f) : 0;

        /* ENOMEM: it has shrunk meanwhile; what is left of it is unlocked. */
        return r == -ENOMEM ? 0 : r;
}
