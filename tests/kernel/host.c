/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "host.h"

#include <sys/time.h>

#define CHUNK_MAX 16384

static struct sockaddr_vm address(uint32_t cid, uint32_t port)
{
        return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

int host_socket(int type)
{
        int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);

        return fd < 0 ? -errno : fd;
}

int host_connect(int fd, uint32_t cid, uint32_t port)
{
        struct sockaddr_vm a = address(cid, port);

        return connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
}

int host_connect_timeout(int fd, uint64_t usec)
{
        struct timeval tv = {.tv_sec = usec / USEC_PER_SEC, .tv_usec = usec % USEC_PER_SEC};

        return setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &tv, sizeof(tv)) < 0 ? -errno : 0;
}

int host_listen(int type, uint32_t port)
{
        struct sockaddr_vm a = address(VMADDR_CID_ANY, port);
        _cleanup_close_ int fd = host_socket(type);

        if (fd < 0)
                return fd;
        if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 128) < 0)
                return -errno;
        return TAKE_FD(fd);
}

int host_error(int fd)
{
        socklen_t size = sizeof(int);
        int error;

        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? -errno : -error;
}

int host_stream_init(int fd, struct host_stream *ret_stream)
{
        struct sockaddr_vm own, peer;
        socklen_t size = sizeof(own), type_size = sizeof(int);
        int type;

        if (getsockname(fd, (struct sockaddr *)&own, &size) < 0)
                return -errno;
        size = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0)
                return -errno;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0)
                return -errno;
        *ret_stream = (struct host_stream){
                .fd = fd,
                .seqpacket = type == SOCK_SEQPACKET,
                .host_port = own.svm_port,
                .guest_port = peer.svm_port,
        };
        return 0;
}

ssize_t host_send(struct host_stream *s, size_t size)
{
        uint64_t seed = pattern_seed(s->host_port, s->guest_port, PATTERN_TO_GUEST);
        uint8_t data[CHUNK_MAX];
        ssize_t n;

        if (s->seqpacket)
                size = pattern_message_size(seed, s->sent_messages);
        else if (size > sizeof(data))
                size = sizeof(data);
        pattern_fill(seed, s->sent, data, size);
        n = send(s->fd, data, size, MSG_NOSIGNAL);
        if (n < 0)
                return -errno;
        s->sent += n;
        s->sent_messages += s->seqpacket;
        return s->seqpacket && (size_t)n != size ? -EMSGSIZE : n;
}

ssize_t host_receive(struct host_stream *s, size_t size)
{
        uint64_t seed = pattern_seed(s->host_port, s->guest_port, PATTERN_TO_HOST);
        uint8_t data[CHUNK_MAX];
        ssize_t n;

        n = recv(s->fd, data, s->seqpacket || size > sizeof(data) ? sizeof(data) : size, 0);
        if (n < 0)
                return -errno;
        if (pattern_check(seed, s->received, data, n) != (size_t)n)
                return -EBADMSG;
        if (s->seqpacket && n > 0 && (size_t)n != pattern_message_size(seed, s->received_messages))
                return -EBADMSG;
        s->received += n;
        s->received_messages += s->seqpacket && n > 0;
        return n;
}
