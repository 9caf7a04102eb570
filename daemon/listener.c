/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* cprd's unit runs in the group that its socket should have, but without the privilege to change a file's
 * group. */
static int set_group(const char *path, gid_t group)
{
        struct stat st;

        if (group == (gid_t)-1)
                return 0;
        if (lstat(path, &st) < 0)
                return -errno;
        return st.st_gid != group && lchown(path, (uid_t)-1, group) < 0 ? -errno : 0;
}

int listener_open(const char *path, int type, mode_t mode, gid_t group, int *ret_fd)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int r;

        if (fd < 0)
                return -errno;
        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return -errno;
        r = set_group(path, group);
        if (r < 0)
                return r;
        /* Nobody can connect before listen(). */
        if (chmod(path, mode) < 0 || listen(fd, 128) < 0)
                return -errno;
        *ret_fd = TAKE_FD(fd);
        return 0;
}
