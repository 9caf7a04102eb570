/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/kernel.h"

#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define REMEDY                                                                                               \
        "install the vhost-vsock change (package vhost-vsock-cpr-dkms, see kernel/README.md) and reload vhost_vsock"

static int try_reset_owner(int fd, struct failure *f)
{
        if (ioctl(fd, VHOST_SET_OWNER) < 0) {
                failure_set(f, errno, "the device is not a vhost-vsock device: SET_OWNER: %s",
                            strerror(errno));
                return failure_remedy(
                        f, "load the module vhost_vsock, and make sure that the device node is the real one");
        }
        if (ioctl(fd, VHOST_RESET_OWNER) < 0) {
                failure_set(f, errno, "this kernel's vhost-vsock has no VHOST_RESET_OWNER: %s",
                            strerror(errno));
                return failure_remedy(f, REMEDY);
        }
        return 0;
}

/* An owner that dies: a child, which has its own memory map. */
static int try_reclaim(int fd)
{
        int status = 0;
        pid_t pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0)
                _exit(ioctl(fd, VHOST_SET_OWNER) < 0);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                return -EIO;
        return ioctl(fd, VHOST_RESET_OWNER) < 0 ? -errno : 0;
}

void kernel_probe(const char *device, struct kernel *ret)
{
        _cleanup_close_ int fd = open(device, O_RDWR | O_CLOEXEC);
        struct utsname u;

        *ret = (struct kernel){};
        if (uname(&u) == 0)
                snprintf(ret->release, sizeof(ret->release), "%s", u.release);
        if (fd < 0) {
                failure_set(&ret->problem, errno, "cannot open %s: %s", device, strerror(errno));
                failure_remedy(&ret->problem, "load the module vhost_vsock");
                return;
        }
        if (try_reset_owner(fd, &ret->problem) < 0)
                return;
        ret->reset_owner = true;
        ret->reclaim = try_reclaim(fd) == 0;
}
