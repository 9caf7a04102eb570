/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/caller.h"

#include "common/file.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>

#define GROUPS_MAX_BYTES (65536 * sizeof(gid_t)) /* the kernel's NGROUPS_MAX */

static bool in_supplementary(int socket, gid_t gid)
{
        socklen_t size = 64 * sizeof(gid_t);
        _cleanup_free_ gid_t *groups = malloc(size);
        int r = groups ? getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size) : -1;

        if (r < 0 && groups && errno == ERANGE && size <= GROUPS_MAX_BYTES) {
                gid_t *more = realloc(groups, size);

                if (!more)
                        return false;
                groups = more;
                r = getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
        }
        if (r < 0)
                return false;
        for (size_t i = 0; i < size / sizeof(gid_t); i++)
                if (groups[i] == gid)
                        return true;
        return false;
}

static void read_comm(pid_t pid, char *comm, size_t size)
{
        _cleanup_free_ char *text = NULL;
        char path[40];

        snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        if (file_read(AT_FDCWD, path, 64, &text, NULL) < 0)
                return;
        snprintf(comm, size, "%s", text);
        for (char *p = comm; *p; p++)
                if (*p < ' ' || *p > '~')
                        *p = p[1] ? '?' : '\0';
}

gid_t caller_group(void)
{
        struct group *group = getgrnam(CALLER_GROUP);

        return group ? group->gr_gid : (gid_t)-1;
}

int caller_identify(int socket, gid_t group, struct caller *ret)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);
        char comm[32] = "?";

        if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        ret->uid = peer.uid;
        read_comm(peer.pid, comm, sizeof(comm));
        snprintf(ret->text, sizeof(ret->text), "uid=%u pid=%d %s", peer.uid, peer.pid, comm);
        ret->allowed = peer.uid == 0 || peer.uid == geteuid() ||
                       (group != (gid_t)-1 && (peer.gid == group || in_supplementary(socket, group)));
        return 0;
}
