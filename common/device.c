/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* linux/major.h, and the kernel's linux/miscdevice.h, which is not exported to user space. */
#define MISC_MAJOR        10
#define VHOST_VSOCK_MINOR 241

/*
 * fstat(2) asks a FUSE server to refresh attributes that have expired. statx(2) with AT_STATX_DONT_SYNC does
 * so only for those in the mask that the kernel knows to be stale (fs/fuse/dir.c, fuse_update_get_attr), so
 * the mask is empty. Type and device number are filled in anyway: they come from the inode and cannot change
 * while it lives.
 *
 * A stacked file system (overlayfs) may ask more of the one below. Whoever can mount one without being root
 * can open only regular files, directories and FIFOs on it, since such mounts are nodev. These are sorted out
 * first: the VFS answers FIOQSIZE from the inode and refuses it for anything but a regular file or a
 * directory (fs/ioctl.c), and F_GETPIPE_SZ succeeds only for a pipe.
 */

static bool is_plain(int fd)
{
        loff_t size;
        int flags = fcntl(fd, F_GETFL);

        return flags < 0 || (flags & O_PATH) || ioctl(fd, FIOQSIZE, &size) == 0 ||
               fcntl(fd, F_GETPIPE_SZ) >= 0;
}

static int node_number(const char *node, dev_t *ret, struct failure *f)
{
        struct stat st;

        /* Its number never changes. The node may be missing (the module was loaded after this service) or be
         * something else. */
        if (STREQ(node, DEVICE_VHOST_VSOCK)) {
                *ret = makedev(MISC_MAJOR, VHOST_VSOCK_MINOR);
                return 0;
        }
        if (stat(node, &st) < 0)
                return failure_set(f, errno, "%s: %s", node, strerror(errno));
        if (!S_ISCHR(st.st_mode))
                return failure_set(f, ENODEV, "%s is not a character device", node);
        *ret = st.st_rdev;
        return 0;
}

int device_check_path(int dirfd, const char *path, const char *node, struct failure *f)
{
        struct statx st = {};
        dev_t number = 0;
        int r = node_number(node, &number, f);

        if (r < 0)
                return r;
        if (statx(dirfd, path, AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) < 0)
                return failure_set(f, errno, "cannot look at the file: %s", strerror(errno));
        if (!S_ISCHR(st.stx_mode) || makedev(st.stx_rdev_major, st.stx_rdev_minor) != number)
                return failure_set(f, ENODEV, "the file is not this host's %s", node);
        return 0;
}

int device_check(int fd, const char *node, struct failure *f)
{
        if (is_plain(fd))
                return failure_set(f, ENODEV, "the file is not this host's %s", node);
        return device_check_path(fd, "", node, f);
}
