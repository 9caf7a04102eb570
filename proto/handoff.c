/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/handoff.h"

#include <endian.h>
#include <sys/socket.h>

static const struct {
        const char *name;
        bool has_fd;
} operations[_HANDOFF_OP_MAX] = {
        [HANDOFF_HELLO] = {"HELLO", false},    [HANDOFF_ORDER] = {"ORDER", true},
        [HANDOFF_PROCESS] = {"PROCESS", true}, [HANDOFF_DEVICE] = {"DEVICE", true},
        [HANDOFF_BEGIN] = {"BEGIN", false},    [HANDOFF_RECORD] = {"RECORD", false},
        [HANDOFF_ABORT] = {"ABORT", false},    [HANDOFF_DONE] = {"DONE", false},
};

const char *handoff_op_name(unsigned op)
{
        return op < _HANDOFF_OP_MAX && operations[op].name ? operations[op].name : "?";
}

union control {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int))];
};

int handoff_send(int socket, const struct handoff_message *m, int pass_fd)
{
        struct handoff_message wire = *m;
        ssize_t n;

        wire.magic = htole32(HANDOFF_MAGIC);
        wire.version = htole16(HANDOFF_VERSION);
        wire.op = htole16(m->op);
        wire.role = htole32(m->role);
        wire.value = htole64(m->value);
        n = send_with_fd(socket, &wire, sizeof(wire), pass_fd, 0);
        return n < 0 ? (int)n : 0;
}

/* Keeps the first fd that came with @mh and closes the others (alignment leaves room for a second one in the
 * control buffer). Returns how many there were. */
static size_t take_fds(struct msghdr *mh, int *ret_fd)
{
        size_t n = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + at, sizeof(int));
                        if (n++ == 0)
                                *ret_fd = fd;
                        else
                                close(fd);
                }
        }
        return n;
}

/* Says what is wrong with a message that arrived, or NULL. */
static const char *message_defect(const struct handoff_message *m, ssize_t size, int flags, size_t n_fds)
{
        if (size != (ssize_t)sizeof(*m) || (flags & MSG_TRUNC))
                return "wrong size";
        if (n_fds > 1 || (flags & MSG_CTRUNC))
                return "more than one fd";
        if (m->magic != HANDOFF_MAGIC)
                return "wrong magic";
        if (m->version != HANDOFF_VERSION)
                return "unknown version";
        if (m->op >= _HANDOFF_OP_MAX || !operations[m->op].name)
                return "unknown operation";
        if (m->role >= _HANDOFF_ROLE_MAX)
                return "unknown role";
        if (!memchr(m->name, '\0', sizeof(m->name)))
                return "a name without a NUL";
        if (n_fds == 1 && !operations[m->op].has_fd)
                return "an fd where none belongs";
        if (n_fds == 0 && operations[m->op].has_fd)
                return "no fd where one belongs";
        return NULL;
}

int handoff_receive(int socket, struct handoff_message *ret_m, int *ret_fd, struct failure *f)
{
        struct handoff_message m = {};
        struct iovec iov = {.iov_base = &m, .iov_len = sizeof(m)};
        union control control;
        struct msghdr mh = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = control.buffer,
                .msg_controllen = sizeof(control.buffer),
        };
        _cleanup_close_ int fd = -EBADF;
        const char *defect;
        size_t n_fds;
        ssize_t n;

        do
                n = recvmsg(socket, &mh, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        n_fds = take_fds(&mh, &fd);
        if (n == 0 && fd < 0)
                return 0;
        m.magic = le32toh(m.magic);
        m.version = le16toh(m.version);
        m.op = le16toh(m.op);
        m.role = le32toh(m.role);
        m.value = le64toh(m.value);
        defect = message_defect(&m, n, mh.msg_flags, n_fds);
        if (defect)
                return failure_set(f, EBADMSG, "malformed message on the handoff socket: %s", defect);
        *ret_m = m;
        *ret_fd = TAKE_FD(fd);
        return 1;
}
