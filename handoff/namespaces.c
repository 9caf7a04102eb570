/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/namespaces.h"

#include <fcntl.h>
#include <sched.h>

/* The mounts last: those of others are looked up among ours. */
static const struct {
        const char *name;
        int flag;
} spaces[N_NAMESPACES] = {{"ipc", CLONE_NEWIPC},
                          {"uts", CLONE_NEWUTS},
                          {"net", CLONE_NEWNET},
                          {"cgroup", CLONE_NEWCGROUP},
                          {"mnt", CLONE_NEWNS}};

int namespaces_open(const struct process *p, struct namespaces *ret)
{
        for (size_t i = 0; i < N_NAMESPACES; i++) {
                char path[32];

                if (process_shares_namespace(p, spaces[i].name))
                        continue;
                snprintf(path, sizeof(path), "ns/%s", spaces[i].name);
                ret->fds[i] = openat(p->proc_fd, path, O_RDONLY | O_CLOEXEC);
                if (ret->fds[i] < 0 && errno != ENOENT) /* a kernel without that kind */
                        return -errno;
        }
        return 0;
}

int namespaces_enter(const struct namespaces *n)
{
        for (size_t i = 0; i < N_NAMESPACES; i++)
                if (n->fds[i] >= 0 && setns(n->fds[i], spaces[i].flag) < 0)
                        return -errno;
        return 0;
}

void namespaces_close(struct namespaces *n)
{
        for (size_t i = 0; i < N_NAMESPACES; i++)
                n->fds[i] = close_fd(n->fds[i]);
}
