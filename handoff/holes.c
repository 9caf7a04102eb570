/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/holes.h"

#include "common/log.h"
#include "handoff/freeze.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

/* Above the highest fd: a NIC has some ten, and several may have been unplugged one after the other. */
#define ABOVE     64
#define HOLES_MAX 512
/* That QEMU needs meanwhile: for the migration's own channels, for clients of its monitors. */
#define SPARE 32

/* How many numbers up to ABOVE over the highest are no fd. */
static int count_holes(const struct process *p, int *ret_highest)
{
        int fd = openat(p->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), highest = -1, n = 0;
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!dir) {
                int r = -errno;

                close_fd(fd);
                return r;
        }
        while ((entry = readdir(dir))) {
                int number = atoi(entry->d_name);

                if (entry->d_name[0] == '.')
                        continue;
                n++;
                if (number > highest)
                        highest = number;
        }
        closedir(dir);
        *ret_highest = highest;
        return highest + 1 - n + ABOVE;
}

static int note(struct handoff *h, const struct injection *calls, size_t n, struct failure *f)
{
        json_object *numbers = json_object_new_array();

        for (size_t i = 0; i < n && calls[i].result >= 0; i++)
                json_object_array_add(numbers, json_object_new_int64(calls[i].result));
        json_object_put(h->facts.holes);
        h->facts.holes = numbers;
        return handoff_note(h, "holes", f);
}

/* A source that runs out of fds cannot even migrate. */
static int require_room(const struct process *p, int highest, struct failure *f)
{
        rlim_t needed = (rlim_t)(highest + 1 + ABOVE + SPARE);
        struct rlimit limit;

        if (prlimit(p->pid, RLIMIT_NOFILE, NULL, &limit) < 0 || limit.rlim_cur >= needed)
                return 0;
        failure_set(f, EMFILE, "the source may have fds up to %llu, and would need %llu for the migration",
                    (unsigned long long)limit.rlim_cur, (unsigned long long)needed);
        return failure_remedy(f, "raise its limit: prlimit --pid %d --nofile=%llu", p->pid,
                              (unsigned long long)needed);
}

int holes_fill(struct handoff *h, struct failure *f)
{
        _cleanup_free_ struct injection *calls = NULL;
        int highest = -1, n = count_holes(&h->source.process, &highest), r;

        if (n < 0)
                return failure_set(f, n, "cannot list the source's fds: %s", strerror(-n));
        if (n > HOLES_MAX) {
                failure_set(f, EMFILE, "the numbers of the source's fds have %d holes between them", n);
                return failure_remedy(f, "restart the VM: QEMU may have kept the numbers of fds that it has "
                                         "closed, and the migration would fail or end it");
        }
        r = require_room(&h->source.process, highest, f);
        if (r < 0)
                return r;
        calls = mem_new((size_t)n, sizeof(*calls));
        for (int i = 0; i < n; i++)
                calls[i] =
                        (struct injection){.nr = SYS_eventfd2, .arguments = {0, EFD_CLOEXEC}, .result = -1};
        r = freeze_inject(h, calls, (size_t)n, f);
        if (note(h, calls, (size_t)n, f) < 0 && r >= 0)
                r = -EIO;
        return r;
}

void holes_clear(struct handoff *h)
{
        size_t n = h->facts.holes ? json_object_array_length(h->facts.holes) : 0;
        _cleanup_free_ struct injection *calls = mem_new(n + 1, sizeof(*calls));
        struct failure f = {};

        for (size_t i = 0; i < n; i++)
                calls[i] = (struct injection){.nr = SYS_close,
                                              .arguments = {(uint64_t)json_object_get_int64(
                                                      json_object_array_get_idx(h->facts.holes, i))}};
        if (n && freeze_inject(h, calls, n, &f) < 0)
                log_failure(LOG_WARNING, &f, "the source keeps eventfds of the handoff");
        json_object_put(TAKE_PTR(h->facts.holes));
}
