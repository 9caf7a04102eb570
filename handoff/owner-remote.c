/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"
#include "handoff/destination.h"
#include "handoff/owner.h"
#include "handoff/source.h"
#include "proto/handoff.h"

#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>

/*
 * remote: an unmodified QEMU, 10.0 or newer. It has no call for VHOST_RESET_OWNER, and the kernel takes it
 * from the owner only, so the call is made inside of it (inject.h) while its guest is stopped.
 */

/* For the kernel to reset the connections of a device whose last fd is closed. */
#define LOSSES_MSEC 2000

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
        /* Nobody owned it: then we do for a moment. */
        if (errno == EPERM && ioctl(h->device, VHOST_SET_OWNER) == 0 &&
            ioctl(h->device, VHOST_RESET_OWNER) == 0)
                return 0;
        return failure_set(f, EPERM, "the device of a dead owner cannot be reclaimed on this kernel");
}

static int remote_release(struct handoff *h, struct failure *f)
{
        struct injection call = INJECT_IOCTL(h->source.device_fd, VHOST_RESET_OWNER);
        struct failure why = {};
        int r;

        if (h->source.is_dead)
                return reclaim(h, f);
        r = in_source(h, &call, 1, &why);
        /* It is dying, and takes a moment for it: the destination has all of the guest's state, so the way is
         * forward. */
        if (r < 0 && process_exits(&h->source.process, PROCESS_DYING_MSEC))
                return reclaim(h, f);
        return r < 0 ? failure_set(f, r, "%s", why.what) : 0;
}

/* Gives the source the open device on @fresh under the number of its old one, which it thereby closes. */
static int exchange_device(struct handoff *h, int fresh, struct failure *f)
{
        struct source *s = &h->source;
        struct injection calls[2] = {{.nr = SYS_dup3, .arguments = {0, (uint64_t)s->device_fd, O_CLOEXEC}},
                                     INJECT_IOCTL(s->device_fd, VHOST_SET_OWNER)};
        int number, r = source_reconnect(h, f);

        if (r >= 0)
                r = wait_qmp_fd(h, s->qmp, "getfd", qmp_arguments("fdname", "cprd", NULL), fresh, NULL, f);
        if (r >= 0)
                r = source_find_device(s, -1, s->device_fd, &number);
        if (r == 0)
                r = -ENODEV;
        if (r < 0)
                return failure_set(f, r, "cannot give the source a fresh device: %s", strerror(-r));
        calls[0].arguments[0] = (uint64_t)number;
        r = in_source(h, calls, ELEMENTSOF(calls), f);
        wait_qmp(h, s->qmp, "closefd", qmp_arguments("fdname", "cprd", NULL), NULL, NULL);
        return r;
}

/* Takes the fd. cprd gets its share, and lets go of the one it had. */
static void hold_device(struct handoff *h, int fd)
{
        close_fd(h->device);
        h->device = fd;
        link_tell(h, HANDOFF_DEVICE, 0, h->source.cid, h->device);
}

/* The CID is taken until the last holder of the old device has let it go: cprd and systemd's fd store hold it
 * too, and nothing tells when they have. */
static int take_cid(struct handoff *h, struct failure *f)
{
        uint64_t cid = h->source.cid;

        while (ioctl(h->device, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0) {
                int r = errno == EADDRINUSE ? wait_look(h, f) : -errno;

                if (r < 0)
                        return failure_set(f, r, "cannot take CID %u again: %s", h->source.cid, strerror(-r));
                nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        return 0;
}

/* The kernel frees the CID first, and then resets the old device's connections unless the CID is somebody's
 * again (vhost_vsock_reset_orphans()). One that it left alone would have lost what was queued, and not know
 * it.
 */
static void await_losses(struct handoff *h)
{
        uint64_t until = now_usec() + LOSSES_MSEC * USEC_PER_MSEC;
        bool lost = false;

        while (!lost && now_usec() < until) {
                struct connections now = {};

                if (h->before.established && connections_list(h->source.cid, &now) >= 0)
                        lost = connections_lost(&h->before, &now) == h->before.n;
                connections_done(&now);
                if (!lost)
                        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        if (!lost && h->before.established)
                log_warning("the connections of the lost device are not reset yet");
}

static int finish_replacement(struct handoff *h, struct failure *f)
{
        await_losses(h);
        return take_cid(h, f);
}

/* Whoever began it may have died before cprd had the new device: the source has it in any case. */
static int resume_replacement(struct handoff *h, struct failure *f)
{
        int fresh = process_get_fd(&h->source.process, h->source.device_fd);

        if (fresh < 0)
                return failure_set(f, fresh, "cannot take custody of the source's fresh device: %s",
                                   strerror(-fresh));
        hold_device(h, fresh);
        return finish_replacement(h, f);
}

/* A device whose dead owner cannot be removed from it is lost, and the connections with it. The guest is not,
 * and shall have new ones: its source gets another device in the place of the old one, with the same CID.
 * cprd and the journal know of it first: the source must not be found with a device that nobody else has. */
static int replace_device(struct handoff *h, struct failure *f)
{
        _cleanup_close_ int fresh = open(DEVICE_PATH, O_RDWR | O_CLOEXEC);
        int r;

        if (fresh < 0)
                return failure_set(f, errno, "cannot open " DEVICE_PATH ": %s", strerror(errno));
        log_warning(
                "the device cannot be reclaimed on this kernel: its connections are lost; the source gets a fresh one");
        r = handoff_fact(h, "replaced", json_object_new_boolean(true), f);
        if (r < 0)
                return r;
        h->replaced = true;
        hold_device(h, TAKE_FD(fresh));
        r = exchange_device(h, h->device, f);
        return r < 0 ? r : finish_replacement(h, f);
}

static int remote_take_back(struct handoff *h, struct failure *f)
{
        struct injection call = INJECT_IOCTL(h->source.device_fd, VHOST_SET_OWNER);
        struct failure why = {};
        int r = source_owns(h, f);

        if (r > 0) /* it never came to the release, or the replacement was interrupted */
                return h->replaced ? resume_replacement(h, f) : 0;
        if (r < 0)
                return r;
        r = in_source(h, &call, 1, &why);
        if (r == -EBUSY)
                return replace_device(h, f);
        return r < 0 ? failure_set(f, r, "%s", why.what) : 0;
}

/* Leaves the destination stopped: the next thing that it shall do is `cont`. */
static int remote_claim(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection calls[WITHHELD_MAX];
        bool claims = false;
        size_t n = 0;
        int r = destination_stop(h, f);

        for (; n < d->n_withheld; n++) {
                const struct withheld *w = &d->withheld[n];

                calls[n] = INJECT_IOCTL(FD_DEVICE, w->request);
                calls[n].payload_size = w->payload_size;
                memcpy(calls[n].payload, w->payload, w->payload_size);
                claims = claims || w->request == VHOST_SET_OWNER;
        }
        if (r >= 0)
                r = inject_calls(&d->tracee, calls, n, h->deadline, f);
        d->owns = r >= 0 && claims; /* the kernel answers VHOST_SET_OWNER with 0 to the owner only */
        if (r >= 0 && d->shield_up)
                r = destination_set_shield(h, false, f);
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
        /* Not the end: take_back has an answer to it. */
        if (reclaim(h, NULL) < 0)
                log_warning("the device of the dead destination cannot be reclaimed");
        return 0;
}

const struct owner owner_remote = {
        .name = "remote",
        .release = remote_release,
        .take_back = remote_take_back,
        .claim = remote_claim,
        .give_up = remote_give_up,
};
