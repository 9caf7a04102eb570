/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/replace.h"

#include "common/log.h"
#include "handoff/freeze.h"
#include "handoff/source.h"
#include "handoff/wait.h"

#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>

/* Time for the kernel to reset the connections of a device whose last fd is closed. */
#define LOSSES_MSEC 2000

/* Gives the source the open device on @fresh under the number of its old one, which it thereby closes. */
static int exchange_device(struct handoff *h, int fresh, struct failure *f)
{
        const struct source *s = &h->source;
        int device_fd = (int)h->facts.source.device_fd;
        struct injection calls[2] = {{.nr = SYS_dup3, .arguments = {0, (uint64_t)device_fd, O_CLOEXEC}},
                                     INJECT_IOCTL(device_fd, VHOST_SET_OWNER)};
        int number, r = source_connect(h, f);

        if (r >= 0)
                r = wait_qmp_fd(h, s->qmp, "getfd", qmp_arguments("fdname", "cprd", NULL), fresh, NULL, f);
        if (r >= 0)
                r = source_find_device(s, -1, device_fd, &number);
        if (r == 0)
                r = -ENODEV;
        if (r < 0)
                return failure_set(f, r, "cannot give the source a fresh device: %s", strerror(-r));
        calls[0].arguments[0] = (uint64_t)number;
        r = freeze_inject(h, calls, ELEMENTSOF(calls), f);
        wait_qmp(h, s->qmp, "closefd", qmp_arguments("fdname", "cprd", NULL), NULL, NULL);
        return r;
}

/* Takes over the fd. cprd gets its share, and lets go of the old one. */
static void hold_device(struct handoff *h, int fd)
{
        close_fd(h->device);
        h->device = fd;
        link_tell(&h->link, HANDOFF_DEVICE, 0, (uint32_t)h->facts.source.cid, h->device);
}

/* The CID is taken until the last holder of the old device has let go: cprd and systemd's fd store hold it
 * too, and nothing tells when they have let go. */
static int take_cid(struct handoff *h, struct failure *f)
{
        uint64_t cid = (uint32_t)h->facts.source.cid;

        while (ioctl(h->device, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0) {
                int r = errno == EADDRINUSE ? wait_look(h, f) : -errno;

                if (r < 0)
                        return failure_set(f, r, "cannot take CID %u again: %s",
                                           (uint32_t)h->facts.source.cid, strerror(-r));
                nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        return 0;
}

/* The kernel frees the CID first, and then resets the old device's connections unless the CID is in use again
 * (vhost_vsock_reset_orphans()). A connection that it spared would have lost the queued data without
 * knowing. */
static void await_losses(struct handoff *h)
{
        uint64_t until = now_usec() + LOSSES_MSEC * USEC_PER_MSEC;
        bool lost = false;

        while (!lost && now_usec() < until) {
                struct connections now = {};

                if (h->before.established &&
                    connections_list((uint32_t)h->facts.source.cid, CONNECTIONS_ESTABLISHED, &now) >= 0)
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

/* Whoever began it may have died before cprd had the new device; the source has it in any case. */
int replace_resume(struct handoff *h, struct failure *f)
{
        int fresh = process_get_fd(&h->source.process, (int)h->facts.source.device_fd);

        if (fresh < 0)
                return failure_set(f, fresh, "cannot take custody of the source's fresh device: %s",
                                   strerror(-fresh));
        hold_device(h, fresh);
        return finish_replacement(h, f);
}

/* cprd and the journal learn of it first: the source must not be found with a device that nobody else has. */
int replace_device(struct handoff *h, struct failure *f)
{
        _cleanup_close_ int fresh = open(DEVICE_PATH, O_RDWR | O_CLOEXEC);
        int r;

        if (fresh < 0)
                return failure_set(f, errno, "cannot open " DEVICE_PATH ": %s", strerror(errno));
        log_warning(
                "the device cannot be reclaimed on this kernel: its connections are lost; the source gets a fresh one");
        h->facts.device.replaced = true;
        r = handoff_note(h, "device", f);
        if (r < 0)
                return r;
        hold_device(h, TAKE_FD(fresh));
        r = exchange_device(h, h->device, f);
        return r < 0 ? r : finish_replacement(h, f);
}
