/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/nic.h"

#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#define TUN_PATH       "/dev/net/tun"
#define VHOST_NET_PATH "/dev/vhost-net"

/* How long a destination may take to take a frame: while it is built the guest runs, later it waits. */
#define TAKES_USEC       (1 * USEC_PER_SEC)
#define TAKES_HURRY_USEC (50 * USEC_PER_MSEC)

/* ---- what the source has ---- */

/* The interface of the source's @fd, of fdinfo's line "iff:\tNAME". */
static bool has_interface(const struct process *p, const char *fd, const char *ifname)
{
        _cleanup_free_ char *path = text_print("fdinfo/%s", fd), *text = NULL;
        const char *line;

        if (process_read(p, path, 4096, &text, NULL) < 0)
                return false;
        line = strstr(text, "iff:\t");
        line = line ? line + strlen("iff:\t") : NULL;
        return line && (!ifname || (strncmp(line, ifname, strlen(ifname)) == 0 &&
                                    strcspn(line, "\n") == strlen(ifname)));
}

static int by_number(const void *a, const void *b)
{
        return *(const int *)a - *(const int *)b;
}

size_t nic_find(const struct process *p, const char *ifname, int fds[static NIC_QUEUES_MAX])
{
        int fd = openat(p->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        size_t n = 0;

        if (!dir) {
                close_fd(fd);
                return 0;
        }
        while (n < NIC_QUEUES_MAX && (entry = readdir(dir))) {
                char target[64] = "";

                if (readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) > 0 &&
                    STREQ(target, TUN_PATH) && has_interface(p, entry->d_name, ifname))
                        fds[n++] = atoi(entry->d_name);
        }
        closedir(dir);
        qsort(fds, n, sizeof(*fds), by_number);
        return n;
}

/* ---- check ---- */

void nic_check(struct handoff *h, struct findings *fs, const char *id)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;
        struct scratch scratch = {.fd = -EBADF, .wire = -EBADF};
        _cleanup_close_ int queue = -EBADF;
        struct failure f = {};

        if (facts->n_queues == 0)
                return;
        queue = process_get_fd(&h->source.process, facts->queues[0].source_fd);
        if (queue < 0)
                failure_set(&f, queue, "cannot duplicate the source's TAP queue: %s", strerror(-queue));
        else
                scratch_make(&scratch, queue, &f);
        scratch_done(&scratch);
        if (f.error)
                return finding_block(fs, id,
                                     "see that this kernel has TAP devices and packet sockets (AF_PACKET)",
                                     "%s", f.what);
        finding_pass(fs, id, "%zu queues of TAP devices will be handed on", facts->n_queues);
}

/* ---- launch ---- */

static int make_queue(struct handoff *h, const struct nic_queue *q, struct nic_ends *ends, struct failure *f)
{
        *ends = NIC_ENDS_NULL;
        ends->queue = process_get_fd(&h->source.process, q->source_fd);
        if (ends->queue < 0)
                return failure_set(f, ends->queue, "cannot duplicate the source's TAP queue (its fd %d): %s",
                                   q->source_fd, strerror(-ends->queue));
        return scratch_make(&ends->scratch, ends->queue, f);
}

int nic_make(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        const struct cmdline_facts *facts = &d->cmdline_facts;
        int r = 0;

        nic_forget(h);
        for (size_t i = 0; r >= 0 && i < facts->n_queues; i++) {
                r = make_queue(h, &facts->queues[i], &d->nics[i], f);
                d->n_nics = i + 1;
        }
        return r;
}

/* A vhost-net device belongs to one process from the first use on, so each QEMU has its own. */
static int add_vhost(struct inheritance *in, int number, struct failure *f)
{
        _cleanup_close_ int fd = open(VHOST_NET_PATH, O_RDWR | O_CLOEXEC);

        if (fd < 0)
                return failure_set(f, errno, "cannot open " VHOST_NET_PATH ": %s", strerror(errno));
        return inherit_add(in, fd, number, f);
}

int nic_inherit(struct handoff *h, struct inheritance *in, struct failure *f)
{
        const struct destination *d = &h->destination;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < d->n_nics; i++) {
                const struct nic_queue *q = &d->cmdline_facts.queues[i];

                r = inherit_add(in, d->nics[i].scratch.fd, q->fd_number, f);
                if (r >= 0)
                        r = inherit_add(in, d->nics[i].queue, q->true_number, f);
                if (r >= 0 && q->vhost_number >= 0)
                        r = add_vhost(in, q->vhost_number, f);
        }
        return r;
}

void nic_forget(struct handoff *h)
{
        struct destination *d = &h->destination;

        for (size_t i = 0; i < d->n_nics; i++) {
                scratch_done(&d->nics[i].scratch);
                close_fd(d->nics[i].queue);
        }
        d->n_nics = 0;
}

/* ---- frames that the destination takes ---- */

/* Feeds those queues that are attached and were not fed yet, and waits until each frame is taken. That it
 * does not happen costs a frame later, which is not worth a failure. */
static int feed(struct handoff *h, uint64_t usec, struct failure *f)
{
        struct destination *d = &h->destination;
        uint64_t until = now_usec() + usec;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < d->n_nics; i++) {
                struct scratch *s = &d->nics[i].scratch;
                bool fresh = !s->was_fed && scratch_is_attached(s);

                if (fresh)
                        r = scratch_feed(s, f);
                while (fresh && r >= 0 && scratch_has_frame(s) && now_usec() < until)
                        nanosleep(&(struct timespec){.tv_nsec = 100 * NSEC_PER_USEC}, NULL);
                if (fresh && r >= 0 && scratch_has_frame(s))
                        log_warning("the destination has not taken the frame on queue %zu of its NICs", i);
        }
        return r;
}

int nic_match(struct handoff *h, struct failure *f)
{
        return feed(h, TAKES_USEC, f);
}

/* The load has switched on the other queues of those that the guest uses. */
int nic_loaded(struct handoff *h, struct failure *f)
{
        return feed(h, TAKES_HURRY_USEC, f);
}

/* ---- claim ---- */

/* The header in front of each frame: with another size than the destination believes every frame would be
 * garbage. It is as the guest has negotiated it, so that both must have come to the same. */
static int check_headers(const struct nic_ends *ends, size_t number, struct failure *f)
{
        int source = 0, destination = 0;

        if (ioctl(ends->queue, TUNGETVNETHDRSZ, &source) < 0 ||
            ioctl(ends->scratch.fd, TUNGETVNETHDRSZ, &destination) < 0)
                return failure_set(f, errno, "cannot read the header size of a TAP device: %s",
                                   strerror(errno));
        if (source == destination)
                return 0;
        return failure_set(f, EPROTO,
                           "queue %zu of the NICs: the source has frames with headers of %d bytes, and the "
                           "destination expects %d",
                           number, source, destination);
}

int nic_claim(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        struct injection calls[2 * NIC_QUEUES_MAX];
        size_t n = 0;

        for (size_t i = 0; i < d->n_nics; i++) {
                const struct nic_queue *q = &d->cmdline_facts.queues[i];
                int r = scratch_is_attached(&d->nics[i].scratch) ? check_headers(&d->nics[i], i, f) : 0;

                if (r < 0)
                        return r;
                calls[n++] = (struct injection){
                        .nr = SYS_dup3,
                        .arguments = {(uint64_t)q->true_number, (uint64_t)q->fd_number, O_CLOEXEC}};
                calls[n++] = (struct injection){.nr = SYS_close, .arguments = {(uint64_t)q->true_number}};
        }
        return n ? inject_calls(&d->tracee, calls, n, h->step.deadline, f) : 0;
}
