/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the host says while there is no backend. Contract 3, and the fast-fail rule, 9. */

#include "unit.h"

#include <poll.h>

/* The first packets a guest got, for their order. */
struct record {
        unsigned n;
        struct virtio_vsock_hdr packets[64];
};

static void record_packet(const struct virtio_vsock_hdr *header, const void *payload, void *userdata)
{
        struct record *record = userdata;

        (void)payload;
        if (record->n < ELEMENTSOF(record->packets))
                record->packets[record->n++] = *header;
}

static bool can_receive(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return poll(&p, 1, 0) == 1;
}

static bool is_connected(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        return poll(&p, 1, 0) == 1;
}

/* Two connections speak in turn while there is no backend: the guest hears them in that turn. */
static int queued_in_order(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int a = -EBADF, b = -EBADF;
        struct host_stream sa, sb;
        struct record record = {};

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &a, &sa) ||
            unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &b, &sb))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        for (int i = 0; i < 20; i++) {
                EXPECT(host_send(&sa, 10 + i) == 10 + i);
                EXPECT(host_send(&sb, 100 + i) == 100 + i);
        }
        vmm_observe(vmm, record_packet, &record);
        EXPECT_OK(vmm_take(vmm));
        EXPECT_SOON(vmm, record.n >= 40);
        for (unsigned i = 0; i < 40; i++) {
                const struct virtio_vsock_hdr *h = &record.packets[i];

                EXPECT(h->op == VIRTIO_VSOCK_OP_RW);
                EXPECT(h->src_port == (i % 2 ? sb.host_port : sa.host_port));
                EXPECT(h->len == (i % 2 ? 100 : 10) + i / 2);
        }
        vmm_observe(vmm, NULL, NULL);
        return unit_echo(vmm, &sa, 1) || unit_echo(vmm, &sb, 1);
}

/* A packet of which half has been delivered continues where it was. */
static int half_delivered_packet(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid, .ring_size = 2}, -EBADF, &vmm));
        EXPECT_OK(vmm_take(vmm));
        if (unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT(host_send(&s, 16000) == 16000); /* four buffers' worth, there are two */
        test_sleep(20000);
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(vmm_take(vmm));
        return unit_echo(vmm, &s, 1000);
}

static int connect_completes(uint32_t cid, int type)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = host_socket(type | SOCK_NONBLOCK);
        struct host_stream s;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_RESULT(host_connect(fd, cid, VMM_PORT_ECHO), -EINPROGRESS);
        test_sleep(50000);
        EXPECT(!is_connected(fd));
        EXPECT_OK(vmm_take(vmm));
        EXPECT_SOON(vmm, is_connected(fd));
        EXPECT_OK(host_error(fd));
        EXPECT_OK(host_stream_init(fd, &s));
        return unit_echo(vmm, &s, 10);
}

static int connect_completes_stream(uint32_t cid)
{
        return connect_completes(cid, SOCK_STREAM);
}

static int connect_completes_seqpacket(uint32_t cid)
{
        return connect_completes(cid, SOCK_SEQPACKET);
}

static int sends_at_every_step(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT_OK(vmm_stop(vmm)); /* QEMU stops its devices long before cprd releases them */
        EXPECT(host_send(&s, 3000) == 3000);
        EXPECT_OK(vmm_release(vmm));
        EXPECT(host_send(&s, 3000) == 3000);
        EXPECT_OK(vmm_claim(vmm));
        EXPECT(host_send(&s, 3000) == 3000);
        EXPECT_OK(vmm_configure(vmm));
        EXPECT(host_send(&s, 3000) == 3000);
        EXPECT_OK(vmm_start(vmm));
        return unit_echo(vmm, &s, 3000);
}

static int timed_out_connect_cancels(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int late = host_socket(SOCK_STREAM), fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(host_connect_timeout(late, 50000));
        EXPECT_RESULT(host_connect(late, cid, VMM_PORT_ECHO), -ETIMEDOUT);
        EXPECT_OK(vmm_take(vmm));
        if (unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT(vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_REQUEST] == 1);
        return unit_echo(vmm, &s, 1000);
}

/* The guest fills the host's receive buffer; the host reads it while there is no backend. The guest never
 * asks for credit: if the update is lost, it waits for ever. */
static int credit_update(uint32_t cid)
{
        const uint64_t total = 512 * 1024;
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int listener = host_listen(SOCK_STREAM | SOCK_NONBLOCK, cid), fd = -EBADF;
        uint64_t sent = 0, before;
        struct host_stream s;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_guest_connect(vmm, VIRTIO_VSOCK_TYPE_STREAM, 5000, cid, total));
        EXPECT_SOON(vmm, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
        EXPECT_OK(host_stream_init(fd, &s));
        EXPECT_SOON(vmm, vmm_guest_has(vmm, cid, 5000, NULL, &sent) && sent >= 128 * 1024);
        for (int i = 0; i < 20; i++) /* and then as much as there is credit for */
                vmm_pump_wait(vmm, 2);
        vmm_guest_has(vmm, cid, 5000, NULL, &before);
        EXPECT(before < total && vmm_guest_tx_pending(vmm) == 0);
        EXPECT_OK(vmm_give(vmm));
        while (host_receive(&s, total) > 0)
                ;
        EXPECT(s.received == before);
        EXPECT_OK(vmm_take(vmm));
        EXPECT_SOON(vmm, host_receive(&s, total) == 0);
        EXPECT(s.received == total);
        EXPECT_NO_COMPLAINT(vmm);
        return 0;
}

static int shutdown_packet(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT(vmm_guest_connections(vmm) == 1);
        EXPECT_OK(vmm_give(vmm));
        close_fd(TAKE_FD(fd));
        EXPECT_OK(vmm_take(vmm));
        EXPECT_SOON(vmm, vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_SHUTDOWN] == 1);
        EXPECT_SOON(vmm, vmm_guest_connections(vmm) == 0);
        return 0;
}

/* A socket with unread data whose peer has shut down is closed: that is an RST. */
static int reset_packet(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int listener = host_listen(SOCK_STREAM | SOCK_NONBLOCK, cid), fd = -EBADF;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_guest_connect(vmm, VIRTIO_VSOCK_TYPE_STREAM, 5000, cid, 1000));
        EXPECT_SOON(vmm, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
        EXPECT_SOON(vmm, can_receive(fd) && vmm_guest_tx_pending(vmm) == 0);
        test_sleep(10000);
        vmm_pump(vmm);
        EXPECT(vmm_guest_connections(vmm) == 1);
        EXPECT_OK(vmm_give(vmm));
        close_fd(TAKE_FD(fd));
        EXPECT_OK(vmm_take(vmm));
        EXPECT_SOON(vmm, vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_RST] == 1);
        EXPECT(vmm_guest_connections(vmm) == 0);
        return 0;
}

static int seqpacket_goes_on(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_SEQPACKET, VMM_PORT_ECHO, &fd, &s) ||
            unit_echo(vmm, &s, 5))
                return 1;
        for (int i = 0; i < 5; i++) {
                EXPECT_OK(vmm_give(vmm));
                for (int n = 0; n < 3; n++)
                        EXPECT(host_send(&s, 1) > 0);
                EXPECT_OK(vmm_take(vmm));
                if (unit_echo(vmm, &s, 1))
                        return 1;
        }
        EXPECT_NO_COMPLAINT(vmm);
        return 0;
}

/* What the next owner's guest acknowledges counts, not what the last one's did. */
static int seqpacket_follows_features(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL, *without = NULL;
        _cleanup_close_ int fd = host_socket(SOCK_SEQPACKET | SOCK_NONBLOCK);
        int device;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        device = dup(vmm_device_fd(vmm));
        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid, .no_seqpacket = true}, device, &without));
        EXPECT_OK(vmm_take(without));
        EXPECT_RESULT(host_connect(fd, cid, VMM_PORT_ECHO), -ESOCKTNOSUPPORT);
        return 0;
}

const struct unit_case unit_traffic[] = {
        {"queued_in_order", 3, queued_in_order},
        {"half_delivered_packet", 3, half_delivered_packet},
        {"connect_completes_stream", 3, connect_completes_stream},
        {"connect_completes_seqpacket", 3, connect_completes_seqpacket},
        {"sends_at_every_step", 3, sends_at_every_step},
        {"timed_out_connect_cancels", 3, timed_out_connect_cancels},
        {"credit_update", 3, credit_update},
        {"shutdown_packet", 3, shutdown_packet},
        {"reset_packet", 3, reset_packet},
        {"seqpacket_goes_on", 11, seqpacket_goes_on},
        {"seqpacket_follows_features", 11, seqpacket_follows_features},
        {},
};
