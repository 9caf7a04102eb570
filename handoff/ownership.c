/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/ownership.h"

#include "common/log.h"
#include "handoff/destination.h"
#include "handoff/freeze.h"
#include "handoff/replace.h"
#include "handoff/resources.h"
#include "handoff/runstate.h"
#include "handoff/takeover.h"
#include "handoff/trace.h"
#include "handoff/wait.h"

#include <linux/vhost.h>
#include <sys/ioctl.h>

#define JOURNALED_CONNECTIONS_MAX 1000

/* An ioctl that only the owner may make and that changes nothing: for the owner it fails on its NULL argument
 * (EFAULT), for everybody else on the check of the caller (EPERM). vhost_dev_ioctl(), vhost_vring_ioctl() in
 * the kernel. */
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
        struct injection ask = question((int)h->facts.source.device_fd);
        struct failure why = {};
        int r = answer(freeze_inject(h, &ask, 1, &why), f);

        if (r < 0 && why.error)
                failure_pass(f, &why);
        return r;
}

/* By cprd-handoff itself: the kernel lets any holder of the fd release a device whose owner is dead. */
static int reclaim(struct handoff *h, struct failure *f)
{
        if (ioctl(h->device, VHOST_RESET_OWNER) == 0)
                return 0;
        /* Nobody owned it, so we do for a moment. */
        if (errno == EPERM && ioctl(h->device, VHOST_SET_OWNER) == 0 &&
            ioctl(h->device, VHOST_RESET_OWNER) == 0)
                return 0;
        return failure_set(f, EPERM, "the device of a dead owner cannot be reclaimed on this kernel");
}

/* ---- release ---- */

/* Now, as the guest is stopped: what is lost from here on is not lost by its doing. A recovery needs the list
 * too, to say what was lost; the journal has room only for one of sane length. */
static int list_connections(struct handoff *h, struct failure *f)
{
        connections_done(&h->before);
        if (connections_list((uint32_t)h->facts.source.cid, CONNECTIONS_ESTABLISHED, &h->before) < 0) {
                log_warning("this kernel does not list AF_VSOCK connections (CONFIG_VSOCKETS_DIAG)");
                return 0;
        }
        if (h->before.n > JOURNALED_CONNECTIONS_MAX)
                return 0;
        json_object_put(h->facts.connections_before);
        h->facts.connections_before = json_object_get(h->before.established);
        return handoff_note(h, "connectionsBefore", f);
}

/* QEMU says RESUME before a virtual CPU runs, and with its main thread stopped nobody can make it do so any
 * more. A guest that runs again has its device, and must not lose it. */
static int require_stopped(struct handoff *h, struct failure *f)
{
        int r = wait_look(h, f);

        if (r >= 0 && h->source.qmp && qmp_event(h->source.qmp, "RESUME", h->source.events - 1, NULL)) {
                r = failure_set(f, EPROTO, "somebody else has set the source's guest running again");
                failure_remedy(f, "see who uses the VM's monitors, and hand off again");
        }
        return r < 0 ? r : runstate_require_no_late(h, f);
}

/* A dead source has taken nothing along but what its guest did to it in its last moment: the destination has
 * all the rest, so the way is forward. */
static int release_of_dead(struct handoff *h, struct failure *f)
{
        int r = runstate_require_no_late(h, f);

        return r < 0 ? r : reclaim(h, f);
}

/* From here on it is kept from running, until the source ends or has the device back. */
static int release(struct handoff *h, struct failure *f)
{
        struct injection call = INJECT_IOCTL((int)h->facts.source.device_fd, VHOST_RESET_OWNER);
        struct failure why = {};
        int r;

        if (h->source.is_dead)
                return release_of_dead(h, f);
        r = freeze_begin(h, &why);
        if (r >= 0)
                r = require_stopped(h, &why);
        if (r >= 0)
                r = freeze_inject(h, &call, 1, &why);
        /* It may be dying, which takes a moment. */
        if (r < 0 && process_exits(&h->source.process, PROCESS_DYING_MSEC))
                return release_of_dead(h, f);
        return r < 0 ? failure_pass(f, &why) : 0;
}

int ownership_release(struct handoff *h, struct failure *f)
{
        int r = list_connections(h, f);

        return r < 0 ? r : release(h, f);
}

/* SET_OWNER, and the backend features: RESET_OWNER has cleared them, and QEMU sets them once in its life. */
static int set_owner(struct handoff *h, struct failure *f)
{
        int fd = (int)h->facts.source.device_fd;
        uint64_t features = (uint64_t)h->facts.device.backend_features;
        struct injection calls[2] = {INJECT_IOCTL(fd, VHOST_SET_OWNER),
                                     INJECT_IOCTL(fd, VHOST_SET_BACKEND_FEATURES)};

        calls[1].payload_size = sizeof(features);
        memcpy(calls[1].payload, &features, sizeof(features));
        return freeze_inject(h, calls, features ? 2 : 1, f);
}

static int take_back(struct handoff *h, struct failure *f)
{
        struct failure why = {};
        int r = source_owns(h, f);

        if (r > 0) /* it never got to the release, or the replacement was interrupted */
                return h->facts.device.replaced ? replace_resume(h, f) : 0;
        if (r < 0)
                return r;
        r = set_owner(h, &why);
        if (r != -EBUSY)
                return r < 0 ? failure_pass(f, &why) : 0;
        freeze_thaw(h); /* a fresh device reaches it over QMP */
        return replace_device(h, f);
}

int ownership_take_back(struct handoff *h, struct failure *f)
{
        int r = h->source.is_dead ? 0 : take_back(h, f);

        freeze_thaw(h);
        return r;
}

/* ---- claim ---- */

/* Leaves the destination stopped: the next thing it is to do is `cont`. */
int ownership_claim(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        int r = takeover_await(h, f);

        if (r >= 0)
                r = resources_loaded(h, f);
        if (r >= 0)
                r = trace_stop(h, f);
        if (r >= 0)
                r = withhold_replay(&d->withhold, &d->tracee, h->step.deadline, f);
        d->owns = r >= 0 && withhold_has(&d->withhold, VHOST_SET_OWNER); /* only the owner gets 0 */
        if (r >= 0 && d->shield.is_up)
                r = shield_set(&d->shield, &d->tracee, false, f);
        return r < 0 ? r : resources_claim(h, f);
}

int ownership_give_up(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection call = INJECT_IOCTL(FD_DEVICE, VHOST_RESET_OWNER);
        int r = -ESRCH;

        /* From the living destination if possible: that works on every kernel that can do handoffs. */
        if (d->tracee.attached && !d->is_dead && tracee_stop(&d->tracee, h->step.deadline, NULL) >= 0)
                r = inject_calls(&d->tracee, &call, 1, h->step.deadline, NULL);
        if (r >= 0 || r == -EPERM) /* EPERM: it had not claimed yet */
                return 0;
        r = destination_kill(h, f);
        if (r < 0 || h->device < 0)
                return r;
        if (!h->source.is_dead && source_owns(h, NULL) > 0)
                return 0;
        /* Not the end: take_back can deal with it. */
        if (reclaim(h, NULL) < 0)
                log_warning("the device of the dead destination cannot be reclaimed");
        return 0;
}

/* ---- verify ---- */

static int verify_destination(struct handoff *h, struct failure *f)
{
        if (h->destination.qmp && qmp_event(h->destination.qmp, "RESUME", 0, NULL))
                return failure_set(f, EPROTO, "the destination runs before it was told to");
        if (!h->destination.owns)
                return failure_set(f, EPERM, "the destination does not own the device it claimed");
        return process_is_alive(&h->destination.process) ? 0 : handoff_obituary(h, f);
}

int ownership_verify(struct handoff *h, struct failure *f)
{
        struct connections now = {};
        size_t lost = 0;
        int r = verify_destination(h, f);

        if (r < 0)
                return r;
        if (h->before.n && connections_list((uint32_t)h->facts.source.cid,
                                            CONNECTIONS_ESTABLISHED | CONNECTIONS_CLOSING, &now) >= 0)
                lost = connections_lost(&h->before, &now);
        connections_done(&now);
        /* A reset loses all of them at once. */
        if (lost && lost == h->before.n)
                return failure_set(f, ECONNRESET, "all %zu vsock connections were lost in the move", lost);
        return 0;
}
