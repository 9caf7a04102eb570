/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How a fake VMM goes from one process to another: its two fds, over a unix socket. */

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm-internal.h"

/* ---- handing over ---- */

int vmm_send(struct vmm *vmm, int socket_fd)
{
        const int fds[2] = {vmm->device_fd, vmm->memory_fd};
        char byte = 'v';
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(fds))];
        } control = {};
        struct iovec iov = {&byte, 1};
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };

        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(fds));
        memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
        return sendmsg(socket_fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Both fds are the caller's. */
static int receive_fds(int socket_fd, int *ret_device, int *ret_memory)
{
        int fds[2];
        char byte;
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(fds))];
        } control = {};
        struct iovec iov = {&byte, 1};
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        ssize_t n;

        do
                n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        if (n == 0)
                return -EPIPE;
        if (message.msg_controllen == 0 || control.header.cmsg_level != SOL_SOCKET ||
            control.header.cmsg_type != SCM_RIGHTS || control.header.cmsg_len != CMSG_LEN(sizeof(fds)))
                return -EBADMSG;
        memcpy(fds, CMSG_DATA(&control.header), sizeof(fds));
        *ret_device = fds[0];
        *ret_memory = fds[1];
        return 0;
}

int vmm_receive(int socket_fd, struct vmm **ret_vmm)
{
        int device, memory, r;

        r = receive_fds(socket_fd, &device, &memory);
        return r < 0 ? r : vmm_adopt(device, memory, ret_vmm);
}

void vmm_park(struct vmm *vmm)
{
        vmm_close_eventfds(vmm);
        vmm->device_fd = close_fd(vmm->device_fd);
}

int vmm_receive_parked(int socket_fd, struct vmm *vmm)
{
        _cleanup_close_ int device = -EBADF, memory = -EBADF;
        struct stat mine, theirs;
        int r;

        r = receive_fds(socket_fd, &device, &memory);
        if (r < 0)
                return r;
        if (fstat(vmm->memory_fd, &mine) < 0 || fstat(memory, &theirs) < 0)
                return -errno;
        if (mine.st_dev != theirs.st_dev || mine.st_ino != theirs.st_ino)
                return -EBADMSG;
        vmm->device_fd = TAKE_FD(device);
        return 0;
}
