/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/quiet.h"

#include "handoff/sockets.h"
#include "handoff/wait.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* The names of the fds, with the connection's number. */
#define QUIET "cprd-quiet"
#define PEER  "cprd-peer"
#define LIVE  "cprd-live"

static int unblock(int fd)
{
        int flags = fcntl(fd, F_GETFL);

        return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

static ino_t inode_of(int fd)
{
        struct stat st = {};

        fstat(fd, &st);
        return st.st_ino;
}

/* Small pieces at the end: the kernel must not find room for one more byte. */
static int make_pair(int pair[static 2])
{
        static const char nothing[4096];
        const int least = 0;

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
                return -errno;
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
        for (size_t size = sizeof(nothing); size; size /= 2)
                while (send(pair[0], nothing, size, MSG_NOSIGNAL) > 0)
                        ;
        return errno == EAGAIN ? 0 : -errno;
}

/* The fd under a name in a QEMU, which has made it blocking; it is as before at the end. */
static int give(struct handoff *h, struct qmp *q, const char *name, size_t i, int fd, struct failure *f)
{
        _cleanup_free_ char *numbered = text_print("%s%zu", name, i);
        int r = wait_qmp_fd(h, q, "getfd", qmp_arguments("fdname", numbered, NULL), fd, NULL, f),
            s = unblock(fd);

        return r < 0 ? r : s;
}

static int give_to_both(struct handoff *h, const int pair[static 2], size_t i, struct failure *f)
{
        struct qmp *both[] = {h->source.qmp, h->destination.qmp};
        int r = 0;

        for (size_t j = 0; r >= 0 && j < ELEMENTSOF(both); j++) {
                r = give(h, both[j], QUIET, i, pair[0], f);
                if (r >= 0)
                        r = give(h, both[j], PEER, i, pair[1], f);
        }
        return r;
}

static int connect_chardev(struct handoff *h, json_object *c, size_t i, struct failure *f)
{
        _cleanup_free_ char *name = text_print(QUIET "%zu", i);

        return wait_qmp(h, h->destination.qmp, "add_client",
                        qmp_arguments("protocol", json_str(c, "label"), "fdname", name, NULL), NULL, f);
}

int quiet_make(struct handoff *h, json_object *c, size_t i, struct failure *f)
{
        int pair[2] = {-EBADF, -EBADF}, of_source = -1, of_destination = -1, r = make_pair(pair);
        ino_t inode = r < 0 ? 0 : inode_of(pair[0]);

        if (r >= 0) {
                json_add_int(c, "quiet", (int64_t)inode);
                r = give_to_both(h, pair, i, f);
        }
        if (r >= 0)
                r = of_source = sockets_find(&h->source.process, inode);
        if (r >= 0)
                r = of_destination = sockets_find(&h->destination.process, inode);
        if (r >= 0)
                r = connect_chardev(h, c, i, f);
        json_add_int(c, "quietFd", of_source);
        json_add_int(c, "place", of_destination);
        close_fd(pair[0]);
        close_fd(pair[1]);
        return r < 0 ? failure_set(f, r, "cannot prepare the connection of chardev %s: %s",
                                   json_str(c, "label"), strerror(-r))
                     : 0;
}

int quiet_give(struct handoff *h, json_object *c, size_t i, struct failure *f)
{
        int saved = (int)json_int(c, "saved", -1);
        _cleanup_close_ int live = saved < 0 ? -EBADF : process_get_fd(&h->source.process, saved);
        int r = saved < 0 ? 0 : live;

        if (r >= 0 && saved >= 0)
                r = give(h, h->destination.qmp, LIVE, i, live, f);
        if (r >= 0 && saved >= 0) {
                r = sockets_find(&h->destination.process, inode_of(live));
                json_add_int(c, "held", r);
        }
        return r < 0 ? failure_set(f, r, "cannot give the destination the connection of chardev %s: %s",
                                   json_str(c, "label"), strerror(-r))
                     : 0;
}

void quiet_forget(struct handoff *h, struct qmp *q, size_t i, bool used)
{
        const char *names[] = {PEER, used ? LIVE : QUIET};

        for (size_t j = 0; q && j < ELEMENTSOF(names); j++) {
                _cleanup_free_ char *name = text_print("%s%zu", names[j], i);

                wait_qmp(h, q, "closefd", qmp_arguments("fdname", name, NULL), NULL, NULL);
        }
}

bool quiet_is_at(const struct process *p, json_object *c, const char *which, int fd)
{
        _cleanup_free_ char *path = text_print("fd/%d", fd);
        struct stat st;

        return fd >= 0 && fstatat(p->proc_fd, path, &st, 0) == 0 && S_ISSOCK(st.st_mode) &&
               st.st_ino == (ino_t)json_int(c, which, 0);
}

bool quiet_keeps_going(const struct process *p, int fd)
{
        _cleanup_close_ int copy = process_get_fd(p, fd);

        return copy >= 0 && unblock(copy) >= 0;
}
