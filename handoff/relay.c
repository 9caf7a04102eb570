/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/relay.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CHUNK 65536

void relay_init(struct relay *r, const char *directory)
{
        *r = (struct relay){
                .path = text_print("%s/relay", directory),
                .listener = -EBADF,
                .source = -EBADF,
                .destination = -EBADF,
        };
}

void relay_done(struct relay *r)
{
        relay_hang_up(r);
        if (r->listener >= 0)
                unlink(r->path);
        r->listener = close_fd(r->listener);
        r->destination = close_fd(r->destination);
        for (; r->fds_sent < r->n_fds; r->fds_sent++)
                close_fd(r->fds[r->fds_sent]);
        free(TAKE_PTR(r->state));
        free(TAKE_PTR(r->path));
        free(TAKE_PTR(r->ends.cpr_path));
}

static int pid_of_peer(int fd)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ? -errno : peer.pid;
}

/* Root owns the directory, so nobody else can put something in the socket's place. */
int relay_listen(struct relay *r, const struct relay_ends *ends, struct failure *f)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        mode_t mask = umask(0177);
        int error = 0;

        r->ends = *ends;
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", r->path);
        r->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        unlink(r->path); /* of an earlier try */
        if (r->listener < 0 || bind(r->listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            lchown(r->path, ends->uid, ends->gid) < 0 || listen(r->listener, 1) < 0)
                error = errno;
        umask(mask);
        return error ? failure_set(f, error, "cannot make the relay %s: %s", r->path, strerror(error)) : 0;
}

static int accept_source(struct relay *r, struct failure *f)
{
        _cleanup_close_ int fd = accept4(r->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0)
                return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED
                               ? 0
                               : failure_set(f, errno, "the relay cannot be connected to: %s",
                                             strerror(errno));
        if (pid_of_peer(fd) != r->ends.source)
                return 0; /* the VM's user is up to something: the source will still come */
        r->source = TAKE_FD(fd);
        return 0;
}

/* By a path in a directory of the VM's user, so the peer's pid decides whether it is the destination. */
static int connect_destination(struct relay *r, struct failure *f)
{
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", r->ends.cpr_path);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return failure_set(f, errno, "cannot connect to the destination's CPR channel: %s",
                                   strerror(errno));
        if (pid_of_peer(fd) != r->ends.destination)
                return failure_set(f, EBADF, "the destination's CPR channel is another process's");
        r->destination = TAKE_FD(fd);
        return 0;
}

static int keep_fds(struct relay *r, struct msghdr *mh)
{
        int error = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
                        if (r->n_fds == RELAY_FDS_MAX) {
                                close(fd);
                                error = -E2BIG;
                                continue;
                        }
                        r->fd_at[r->n_fds] = r->size;
                        r->fds[r->n_fds++] = fd;
                }
        }
        return mh->msg_flags & MSG_CTRUNC ? -E2BIG : error;
}

/* Returns 1: there may be more; 0: not now. */
static int receive(struct relay *r)
{
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(int) * RELAY_FDS_MAX)];
        } control;
        struct iovec iov;
        struct msghdr mh = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t n;
        int error;

        if (r->size + CHUNK > RELAY_STATE_MAX)
                return -E2BIG;
        r->state = mem_resize(r->state, r->size + CHUNK);
        iov = (struct iovec){r->state + r->size, CHUNK};
        n = recvmsg(r->source, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        error = keep_fds(r, &mh);
        r->size += (size_t)n;
        r->complete = n == 0;
        return error < 0 ? error : !r->complete;
}

/* The byte that an fd came with goes along with it: QEMU reads both with one recvmsg(2). */
static int send_on(struct relay *r)
{
        while (r->sent < r->size) {
                bool has_fd = r->fds_sent < r->n_fds && r->fd_at[r->fds_sent] == r->sent;
                size_t end = r->size, next = has_fd ? r->fds_sent + 1 : r->fds_sent;
                ssize_t n;

                if (next < r->n_fds && r->fd_at[next] > r->sent)
                        end = r->fd_at[next];
                n = send_with_fd(r->destination, r->state + r->sent, end - r->sent,
                                 has_fd ? r->fds[r->fds_sent] : -EBADF, MSG_DONTWAIT);
                if (n < 0)
                        return n == -EAGAIN ? 0 : (int)n;
                if (has_fd)
                        close_fd(r->fds[r->fds_sent++]);
                r->sent += (size_t)n;
        }
        if (relay_has_passed(r))
                shutdown(r->destination, SHUT_WR);
        return 0;
}

static int move(struct relay *r, struct failure *f)
{
        int error = 0;

        if (r->listener >= 0 && r->source < 0 && !r->hung_up)
                error = accept_source(r, f);
        if (error < 0 || r->source < 0 || relay_has_passed(r))
                return error;
        if (r->destination < 0)
                error = connect_destination(r, f);
        if (error < 0)
                return error;
        while (!r->complete && (error = receive(r)) > 0)
                ;
        if (error >= 0)
                error = send_on(r);
        return error < 0 ? failure_set(f, error, "cannot pass the CPR state on: %s", strerror(-error)) : 0;
}

void relay_move(struct relay *r)
{
        if (!r->failure.error)
                move(r, &r->failure);
}

bool relay_has_passed(const struct relay *r)
{
        return r->complete && r->sent == r->size;
}

void relay_hang_up(struct relay *r)
{
        r->source = close_fd(r->source);
        r->hung_up = true;
}

void relay_poll(const struct relay *r, struct pollfd fds[static RELAY_N_POLL])
{
        bool waits = r->sent < r->size;

        fds[0] = (struct pollfd){.fd = r->source < 0 && !r->hung_up ? r->listener : -1, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = r->complete ? -1 : r->source, .events = POLLIN};
        fds[2] = (struct pollfd){.fd = waits ? r->destination : -1, .events = POLLOUT};
}
