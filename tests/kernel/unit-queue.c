/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* However often a host's socket says the same, the queue for a guest that is stopped stays short, and nothing
 * that matters is lost from it. Contract 12. */

#include "flood.h"
#include "unit.h"

/* Some 40 MB of packets, and as much of sockets with a quarter of it. The kernel looks for superfluous
 * packets when it has 4096, and leaves one of these: it does so at the last call. */
#define CALLS (4096 + 9 * 4095)

/* What a guest has heard of one connection of the host. */
struct heard {
        uint32_t host_port;
        uint32_t credit;   /* bytes, the last */
        uint32_t shutdown; /* all flags */
};

static void listen_in(const struct virtio_vsock_hdr *header, const void *payload, void *userdata)
{
        struct heard *heard = userdata;

        (void)payload;
        if (header->src_port != heard->host_port)
                return;
        if (header->op == VIRTIO_VSOCK_OP_CREDIT_UPDATE)
                heard->credit = header->buf_alloc;
        if (header->op == VIRTIO_VSOCK_OP_SHUTDOWN)
                heard->shutdown |= header->flags;
}

/* A guest that stops; the flood; and what it hears when it goes on. */
static int hear(enum flood_kind kind, uint32_t cid, struct vmm **ret_vmm, int *ret_fd,
                struct host_stream *ret_stream, struct heard *heard)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        long grown;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, ret_stream))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        if (kind == FLOOD_SHUTDOWN)
                EXPECT_OK(shutdown(fd, SHUT_WR));
        grown = flood(kind, fd, cid, kind == FLOOD_CONNECT ? CALLS / 4 : CALLS);
        if (grown < 0 && grown > -4096)
                FAIL("flood: %s", strerror((int)-grown));
        if (grown > FLOOD_BOUND)
                FAIL("the calls cost %ld KiB", grown / 1024);
        heard->host_port = ret_stream->host_port;
        vmm_observe(vmm, listen_in, heard);
        EXPECT_OK(vmm_take(vmm));
        *ret_vmm = TAKE_PTR(vmm);
        *ret_fd = TAKE_FD(fd);
        return 0;
}

static int credit_updates_are_bounded(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct heard heard = {};
        struct host_stream s;

        if (hear(FLOOD_CREDIT, cid, &vmm, &fd, &s, &heard))
                return 1;
        EXPECT_SOON(vmm, heard.credit == flood_credit(CALLS));
        vmm_observe(vmm, NULL, NULL);
        return unit_echo(vmm, &s, 10000);
}

/* The flags of those that go are in the one that stays. */
static int shutdowns_are_bounded(uint32_t cid)
{
        const uint32_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct heard heard = {};
        struct host_stream s;

        if (hear(FLOOD_SHUTDOWN, cid, &vmm, &fd, &s, &heard))
                return 1;
        EXPECT_SOON(vmm, (heard.shutdown & both) == both);
        vmm_observe(vmm, NULL, NULL);
        return 0;
}

/* Some thousand requests are left, more than the fake guest has room for: it complains, and that is fine. */
static int connects_are_bounded(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct heard heard = {};
        struct host_stream s;

        if (hear(FLOOD_CONNECT, cid, &vmm, &fd, &s, &heard))
                return 1;
        vmm_observe(vmm, NULL, NULL);
        EXPECT(host_send(&s, 1000) == 1000);
        EXPECT_SOON(vmm, host_receive(&s, 1000) == -EAGAIN && s.received == 1000);
        return 0;
}

const struct unit_case unit_queue[] = {
        {"credit_updates_are_bounded", 12, credit_updates_are_bounded},
        {"shutdowns_are_bounded", 12, shutdowns_are_bounded},
        {"connects_are_bounded", 12, connects_are_bounded},
        {},
};
