/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/resources.h"

#include "handoff/connection.h"
#include "handoff/fdset.h"
#include "handoff/listeners.h"
#include "handoff/nic.h"
#include "handoff/pidfile.h"
#include "handoff/vnc.h"

#include <stddef.h>
#include <sys/ioctl.h>

/* QEMU needs the device's features to build the machine, so a pure read passes. */
static bool withhold_from_device(const struct handoff *h, const struct attempt *attempt)
{
        return attempt->fd == FD_DEVICE && _IOC_DIR(attempt->request) != _IOC_READ;
}

static const struct resource resources[] = {
        /* stdin, stdout, stderr: the source's own; stderr is a memory file until the source is gone */
        {.kind = "standard", .inherit = inherit_standard},
        /* /dev/vhost-vsock: one open device for both. Its ownership moves in the stages release and claim
         * (ownership.h); until then no ioctl of the destination's that changes anything reaches it */
        {.kind = "vsock", .inherit = inherit_device, .withholds = withhold_from_device},
        /* listening unix sockets: fresh ones beside the paths, renamed over them when the source is gone */
        {.kind = "listener",
         .recover = listeners_recover,
         .make = listeners_make,
         .inherit = listeners_inherit,
         .in_child = listeners_listen,
         .launched = listeners_close,
         .retire = listeners_publish,
         .forget = listeners_remove},
        /* files of guest memory without a name: the source's own */
        {.kind = "memory-file", .inherit = inherit_memory},
        /* TAP devices: scratch ones first, the source's own queues once the destination claims. vhost-net: a
         * device of its own */
        {.kind = "nic",
         .make = nic_make,
         .inherit = nic_inherit,
         .match = nic_match,
         .loaded = nic_loaded,
         .claim = nic_claim,
         .forget = nic_forget},
        /* the fds of -add-fd and QMP add-fd: the source's own, in the same sets. match.c compares them */
        {.kind = "fdset", .inherit = fdset_inherit},
        /* -pidfile: one of the destination's own beside it, renamed over it when the source is gone */
        {.kind = "pidfile",
         .recover = pidfile_recover,
         .make = pidfile_make,
         .retire = pidfile_publish,
         .forget = pidfile_remove},
        /* live clients of listening unix chardevs: the source's connections, once the guest runs */
        {.kind = "connection",
         .match = connections_match,
         .part = connections_part,
         .rejoin = connections_rejoin,
         .move = connections_move},
        /* -vnc: the source's own listening socket; the destination listens when the source is gone */
        {.kind = "vnc", .match = vnc_match, .retire = vnc_retire},
};

typedef int (*step_hook)(struct handoff *h, struct failure *f);
typedef void (*plain_hook)(struct handoff *h);

/* The hook at @offset of struct resource in row @i. */
static step_hook step_of(size_t i, size_t offset)
{
        return *(const step_hook *)((const char *)&resources[i] + offset);
}

static plain_hook plain_of(size_t i, size_t offset)
{
        return *(const plain_hook *)((const char *)&resources[i] + offset);
}

/* Row by row, up to the first failure: what comes next would be undone anyway. */
static int step(struct handoff *h, size_t offset, struct failure *f)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(resources); i++)
                if (step_of(i, offset))
                        r = step_of(i, offset)(h, f);
        return r;
}

/* All rows, since there is no way back from here: one thing that does not change hands must not keep the
 * others from it. The first failure is returned. */
static int step_forward(struct handoff *h, size_t offset, struct failure *f)
{
        int first = 0;

        for (size_t i = 0; i < ELEMENTSOF(resources); i++) {
                struct failure why = {};
                int r = step_of(i, offset) ? step_of(i, offset)(h, &why) : 0;

                if (r < 0 && first >= 0) {
                        first = r;
                        failure_pass(f, &why);
                }
        }
        return first;
}

static void forward(struct handoff *h, size_t offset)
{
        for (size_t i = 0; i < ELEMENTSOF(resources); i++)
                if (plain_of(i, offset))
                        plain_of(i, offset)(h);
}

static void backward(struct handoff *h, size_t offset)
{
        for (size_t i = ELEMENTSOF(resources); i-- > 0;)
                if (plain_of(i, offset))
                        plain_of(i, offset)(h);
}

void resources_recover(struct handoff *h)
{
        forward(h, offsetof(struct resource, recover));
}

int resources_make(struct handoff *h, struct failure *f)
{
        return step(h, offsetof(struct resource, make), f);
}

int resources_inherit(struct handoff *h, struct inheritance *in, struct failure *f)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(resources); i++)
                if (resources[i].inherit)
                        r = resources[i].inherit(h, in, f);
        return r;
}

void resources_in_child(void *cmdline_facts)
{
        for (size_t i = 0; i < ELEMENTSOF(resources); i++)
                if (resources[i].in_child)
                        resources[i].in_child(cmdline_facts);
}

void resources_launched(struct handoff *h)
{
        forward(h, offsetof(struct resource, launched));
}

bool resources_withhold(const struct handoff *h, const struct attempt *attempt)
{
        for (size_t i = 0; i < ELEMENTSOF(resources); i++)
                if (resources[i].withholds && resources[i].withholds(h, attempt))
                        return true;
        return false;
}

int resources_match(struct handoff *h, struct failure *f)
{
        return step(h, offsetof(struct resource, match), f);
}

int resources_part(struct handoff *h, struct failure *f)
{
        return step(h, offsetof(struct resource, part), f);
}

void resources_rejoin(struct handoff *h)
{
        backward(h, offsetof(struct resource, rejoin));
}

int resources_loaded(struct handoff *h, struct failure *f)
{
        return step(h, offsetof(struct resource, loaded), f);
}

int resources_claim(struct handoff *h, struct failure *f)
{
        return step(h, offsetof(struct resource, claim), f);
}

int resources_move(struct handoff *h, struct failure *f)
{
        return step_forward(h, offsetof(struct resource, move), f);
}

int resources_retire(struct handoff *h, struct failure *f)
{
        return step_forward(h, offsetof(struct resource, retire), f);
}

void resources_forget(struct handoff *h)
{
        backward(h, offsetof(struct resource, forget));
}
