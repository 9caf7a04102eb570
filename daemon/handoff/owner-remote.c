/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/handoff/destination.h"
#include "daemon/handoff/owner.h"
#include "daemon/log.h"

#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>

/*
 * remote: an unmodified QEMU, 10.0 or newer. It has no call for VHOST_RESET_OWNER, and the kernel takes it
 * from the owner only, so the call is made inside of it (inject.h) while its guest is stopped.
 */

/* Runs calls in the source, which is traced for no longer than that. */
static int in_source(struct handoff *h, struct injection *calls, size_t n, struct failure *f)
{
        struct tracee *t = &h->source.tracee;
        int r = t->attached ? 0 : tracee_attach(t, &h->source.process, 0, f);

        if (r >= 0)
                r = tracee_stop(t, h->deadline, f);
        if (r >= 0)
                r = inject_calls(t, calls, n, h->deadline, f);
        tracee_detach(t, h->deadline);
        return r;
}

/* An ioctl that only the owner may make and that changes nothing: it fails on its NULL argument for him
 * (EFAULT), and on the question who asks for everybody else (EPERM). vhost_dev_ioctl(), vhost_vring_ioctl()
 * in the kernel. */
static struct injection question(int fd)
{
        return INJECT_IOCTL(fd, VHOST_GET_VRING_BASE);
}

static int answer(int r, struct failure *f)
{
        if (r == -EFAULT)
                return 1;
        if (r == -EPERM)
                return 0;
        return r < 0 ? r
                     : failure_set(f, EPROTO, "the kernel answers strangely when asked who owns the device");
}

static int source_owns(struct handoff *h, struct failure *f)
{
        struct injection ask = question(h->source.device_fd);
        struct failure unused = {};
        int r = answer(in_source(h, &ask, 1, &unused), f);

        return r < 0 ? failure_set(f, r, "%s", unused.what) : r;
}

/* By cprd-handoff itself: the kernel lets any holder of the fd release a device whose owner is dead. */
static int reclaim(struct handoff *h, struct failure *f)
{
        if (ioctl(h->device, VHOST_RESET_OWNER) == 0)
                return 0;
        if (errno == EPERM && ioctl(h->device, VHOST_SET_OWNER) == 0)
                return ioctl(h->device, VHOST_RESET_OWNER); /* nobody owned it */
        return failure_set(f, EPERM, "the device of a dead owner cannot be reclaimed on this kernel");
}

static int remote_release(struct handoff *h, struct failure *f)
{
        struct injection call = INJECT_IOCTL(h->source.device_fd, VHOST_RESET_OWNER);

        return h->source.is_dead ? reclaim(h, f) : in_source(h, &call, 1, f);
}

static int remote_take_back(struct handoff *h, struct failure *f)
{
        struct injection call = INJECT_IOCTL(h->source.device_fd, VHOST_SET_OWNER);
        int r = source_owns(h, f);

        if (r != 0)
                return r < 0 ? r : 0; /* it never came to the release */
        return in_source(h, &call, 1, f);
}

/* Puts the destination's own stderr in the place of the log that it had until here. */
static size_t restore_stderr(struct injection *calls)
{
        calls[0] = (struct injection){.nr = SYS_dup3, .arguments = {FD_STDERR, 2, 0}};
        calls[1] = (struct injection){.nr = SYS_close, .arguments = {FD_STDERR}};
        return 2;
}

static int remote_claim(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection calls[WITHHELD_MAX + 2];
        size_t n = 0;
        int r = tracee_stop(&d->tracee, h->deadline, f);

        for (; n < d->n_withheld; n++) {
                const struct withheld *w = &d->withheld[n];

                calls[n] = INJECT_IOCTL(FD_DEVICE, w->request);
                calls[n].payload_size = w->payload_size;
                memcpy(calls[n].payload, w->payload, w->payload_size);
        }
        n += restore_stderr(calls + n);
        if (r >= 0)
                r = inject_calls(&d->tracee, calls, n, h->deadline, f);
        if (r >= 0 && d->shield_up)
                r = destination_set_shield(h, false, f);
        if (r >= 0)
                r = tracee_resume(&d->tracee, PTRACE_CONT, 0);
        return r;
}

static int remote_give_up(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection call = INJECT_IOCTL(FD_DEVICE, VHOST_RESET_OWNER);
        int r = -ESRCH;

        /* Out of the living destination if that goes, which works on every kernel that can do handoffs. */
        if (d->tracee.attached && !d->is_dead && tracee_stop(&d->tracee, h->deadline, NULL) >= 0)
                r = inject_calls(&d->tracee, &call, 1, h->deadline, NULL);
        if (r >= 0 || r == -EPERM) /* EPERM: it had not claimed yet */
                return 0;
        r = destination_kill(h, f);
        if (r < 0 || h->device < 0)
                return r;
        if (!h->source.is_dead && source_owns(h, NULL) > 0)
                return 0;
        return reclaim(h, f);
}

static int remote_is_claimed(struct handoff *h, struct failure *f)
{
        struct injection ask = question(FD_DEVICE);
        struct failure unused = {};
        int r = tracee_stop(&h->destination.tracee, h->deadline, f);

        if (r < 0)
                return r;
        r = answer(inject_calls(&h->destination.tracee, &ask, 1, h->deadline, &unused), f);
        tracee_resume(&h->destination.tracee, PTRACE_CONT, 0);
        return r < 0 ? failure_set(f, r, "%s", unused.what) : r;
}

const struct owner owner_remote = {
        .name = "remote",
        .release = remote_release,
        .take_back = remote_take_back,
        .claim = remote_claim,
        .give_up = remote_give_up,
        .is_claimed = remote_is_claimed,
};
