/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/connections.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/vm_sockets_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int send_request(int fd, unsigned states)
{
        const uint32_t wanted = (states & CONNECTIONS_ESTABLISHED ? 1U << TCP_ESTABLISHED : 0) |
                                (states & CONNECTIONS_CLOSING ? 1U << TCP_CLOSING : 0);
        struct {
                struct nlmsghdr header;
                struct vsock_diag_req request;
        } m = {
                .header =
                        {
                                .nlmsg_len = sizeof(m),
                                .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                                .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                        },
                .request = {.sdiag_family = AF_VSOCK, .vdiag_states = wanted},
        };

        return send(fd, &m, sizeof(m), 0) < 0 ? -errno : 0;
}

static void add_connection(struct connections *c, const struct vsock_diag_msg *m)
{
        char text[80];

        snprintf(text, sizeof(text), "%u %u %u %u", m->vdiag_src_port, m->vdiag_dst_port, m->vdiag_type,
                 m->vdiag_ino);
        json_object_array_add(c->established, json_object_new_string(text));
        c->n++;
}

/* Returns 1 at the end of the dump. */
static int take_replies(struct connections *c, uint32_t cid, const char *buffer, size_t size)
{
        for (const struct nlmsghdr *h = (const void *)buffer; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size)) {
                const struct vsock_diag_msg *m = NLMSG_DATA(h);

                if (h->nlmsg_type == NLMSG_DONE)
                        return 1;
                if (h->nlmsg_type == NLMSG_ERROR) {
                        int error = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;

                        return error == -ENOENT ? -ENOTSUP : error < 0 ? error : -EBADMSG;
                }
                if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(*m)) && m->vdiag_dst_cid == cid)
                        add_connection(c, m);
        }
        return 0;
}

static int compare(const void *a, const void *b)
{
        return strcmp(json_object_get_string(*(json_object *const *)a),
                      json_object_get_string(*(json_object *const *)b));
}

int connections_list(uint32_t cid, unsigned states, struct connections *ret)
{
        _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
        struct timeval limit = {.tv_sec = 2};
        struct connections c = {.established = json_object_new_array()};
        int r;

        if (fd < 0)
                r = -errno;
        else {
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
                r = send_request(fd, states);
        }
        while (r == 0) {
                char buffer[32768] __attribute__((aligned(8)));
                ssize_t n = recv(fd, buffer, sizeof(buffer), 0);

                r = n < 0 ? -errno : take_replies(&c, cid, buffer, (size_t)n);
        }
        if (r < 0) {
                connections_done(&c);
                return r;
        }
        json_object_array_sort(c.established, compare);
        *ret = c;
        return 0;
}

void connections_done(struct connections *c)
{
        json_object_put(c->established);
        *c = (struct connections){};
}

int64_t connections_count(int64_t cid)
{
        struct connections c = {};
        int64_t n;

        if (cid < 0 || cid > UINT32_MAX || connections_list((uint32_t)cid, CONNECTIONS_ESTABLISHED, &c) < 0)
                return -1;
        n = (int64_t)c.n;
        connections_done(&c);
        return n;
}

size_t connections_lost(const struct connections *before, const struct connections *after)
{
        size_t lost = 0;

        for (size_t i = 0; i < before->n; i++) {
                json_object *one = json_object_array_get_idx(before->established, i);

                if (!json_object_array_bsearch(one, after->established, compare))
                        lost++;
        }
        return lost;
}
