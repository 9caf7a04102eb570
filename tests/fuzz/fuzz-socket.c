/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The handoff socket: packets of any size and content, with fds or without; the first byte of each says how
 * long it is and how many fds come with it. */
#include "fuzz.h"
#include "proto/handoff.h"

#include <fcntl.h>
#include <sys/socket.h>

#define FDS_MAX 7

static void send_packet(int socket, const uint8_t *data, size_t size, int n_fds, int fd)
{
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(int) * FDS_MAX)];
        } control = {.header = {CMSG_LEN(sizeof(int) * (size_t)n_fds), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec iov = {(void *)data, size};
        struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

        for (int i = 0; i < n_fds; i++)
                memcpy(CMSG_DATA(&control.header) + sizeof(int) * (size_t)i, &fd, sizeof(int));
        if (n_fds) {
                mh.msg_control = control.buffer;
                mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n_fds);
        }
        sendmsg(socket, &mh, MSG_NOSIGNAL);
}

static size_t count_fds(void)
{
        size_t n = 0;

        for (int fd = 0; fd < 64; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct handoff_message m;
        struct failure f = {};
        size_t before = count_fds();
        int peer, got, fd = fuzz_socket(SOCK_SEQPACKET, &peer), null = open("/dev/null", O_RDWR | O_CLOEXEC);

        while (size > 1) {
                size_t n = data[0] % 128U;
                int n_fds = data[0] / 128 ? data[1] % (FDS_MAX + 1) : 0;

                n = n > size - 1 ? size - 1 : n;
                send_packet(peer, data + 1, n, n_fds, null);
                data += n + 1;
                size -= n + 1;
        }
        close(peer);
        while (handoff_receive(fd, &m, &got, &f) > 0) {
                FUZZ_EXPECT(memchr(m.name, '\0', sizeof(m.name)) && m.op > 0 && m.op < _HANDOFF_OP_MAX);
                FUZZ_EXPECT(handoff_op_name(m.op)[0] != '?');
                close_fd(got);
        }
        close(fd);
        close(null);
        FUZZ_EXPECT(count_fds() == before);
        return 0;
}
