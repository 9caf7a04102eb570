/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/inherit.h"

#include <fcntl.h>

static int take(struct inheritance *in, int fd, int number, struct failure *f)
{
        if (in->n == LAUNCH_FDS_MAX) {
                close_fd(fd);
                return failure_set(f, E2BIG, "the destination would inherit more than %d fds",
                                   LAUNCH_FDS_MAX);
        }
        in->fds[in->n++] = (struct launch_fd){fd, number};
        return 0;
}

int inherit_add(struct inheritance *in, int fd, int number, struct failure *f)
{
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

        if (copy < 0)
                return failure_set(f, errno, "cannot duplicate an fd for the destination: %s",
                                   strerror(errno));
        return take(in, copy, number, f);
}

int inherit_from_source(const struct handoff *h, struct inheritance *in, int fd, int number, const char *what,
                        struct failure *f)
{
        int copy = process_get_fd(&h->source.process, fd);

        if (copy < 0)
                return failure_set(f, copy, "cannot duplicate the source's %s (its fd %d): %s", what, fd,
                                   strerror(-copy));
        return take(in, copy, number, f);
}

static int by_number(const void *a, const void *b)
{
        return ((const struct launch_fd *)a)->number - ((const struct launch_fd *)b)->number;
}

void inherit_sort(struct inheritance *in)
{
        qsort(in->fds, in->n, sizeof(in->fds[0]), by_number);
}

void inherit_done(struct inheritance *in)
{
        for (size_t i = 0; i < in->n; i++)
                close_fd(in->fds[i].fd);
        in->n = 0;
}

/* The source's @number; /dev/null if it has closed it. */
static int add_standard(const struct handoff *h, struct inheritance *in, int number, int as,
                        struct failure *f)
{
        int fd = process_get_fd(&h->source.process, number);

        if (fd < 0)
                fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return failure_set(f, errno, "cannot open /dev/null: %s", strerror(errno));
        return take(in, fd, as, f);
}

int inherit_standard(struct handoff *h, struct inheritance *in, struct failure *f)
{
        int r = add_standard(h, in, 0, 0, f);

        if (r >= 0)
                r = add_standard(h, in, 1, 1, f);
        if (r >= 0)
                r = inherit_add(in, h->destination.obituary.log, 2, f);
        return r < 0 ? r : add_standard(h, in, 2, FD_STDERR, f);
}

int inherit_device(struct handoff *h, struct inheritance *in, struct failure *f)
{
        return inherit_add(in, h->device, FD_DEVICE, f);
}

int inherit_memory(struct handoff *h, struct inheritance *in, struct failure *f)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < facts->n_memory; i++)
                r = inherit_from_source(h, in, facts->memory[i].source_fd, facts->memory[i].fd_number,
                                        "memory", f);
        return r;
}
