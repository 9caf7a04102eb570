/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* That both directions start again (contract 4, 5), the count of queued replies (6), and when sends fail fast
 * (9). */

#include "unit.h"

#include <poll.h>
#include <sys/eventfd.h>

#define NOBODY_LISTENS 7 /* a port of the host */
#define SMALL_RING     8

static const struct virtio_vsock_hdr unwanted_request = {
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = VIRTIO_VSOCK_OP_REQUEST,
        .src_port = 6000,
        .dst_port = NOBODY_LISTENS,
        .buf_alloc = 65536,
};

static bool is_readable(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return poll(&p, 1, 1000) == 1;
}

/* The guest made TX buffers available while nobody looked, and nobody kicks: the start must look by
 * itself. */
static int tx_is_scanned(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        if (test_guest(cid, &vmm))
                return 1;
        for (int i = 0; i < 5; i++) {
                EXPECT_OK(vmm_give(vmm));
                EXPECT_OK(vmm_guest_inject(vmm, &unwanted_request, NULL));
                EXPECT_OK(vmm_take(vmm));
                EXPECT_SOON(vmm, vmm_guest_tx_pending(vmm) == 0);
        }
        return 0;
}

/* As above, but the ring was set up long before the start: what SET_VRING_KICK triggered is over. */
static int tx_is_scanned_late(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        eventfd_t value;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(vmm_claim(vmm));
        EXPECT_OK(vmm_configure(vmm));
        EXPECT_OK(vmm_guest_inject(vmm, &unwanted_request, NULL));
        vmm_kick(vmm, VMM_TX);
        (void)eventfd_read(vmm_kick_fd(vmm, VMM_TX), &value);
        test_sleep(30000);
        EXPECT_OK(vmm_start(vmm));
        EXPECT_SOON(vmm, vmm_guest_tx_pending(vmm) == 0);
        return 0;
}

/* What was queued for the guest arrives without any kick from it. */
static int rx_is_armed(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        for (int i = 0; i < 5; i++) {
                EXPECT_OK(vmm_give(vmm));
                EXPECT(host_send(&s, 100) == 100);
                EXPECT_OK(vmm_take(vmm));
                EXPECT(is_readable(vmm_call_fd(vmm, VMM_RX)));
                if (unit_echo(vmm, &s, 1))
                        return 1;
        }
        return 0;
}

/* Sends race with the release: work queued on the worker that is going away must not stay marked as
 * queued. */
static int send_during_release(struct vmm *vmm, struct host_stream *s, int from_host)
{
        if (from_host)
                EXPECT(host_send(s, 100) == 100);
        else
                EXPECT_OK(vmm_guest_inject(vmm, &unwanted_request, NULL));
        if (!from_host)
                vmm_kick(vmm, VMM_TX);
        EXPECT_OK(vmm_release(vmm));
        EXPECT_OK(vmm_take(vmm));
        if (from_host)
                return unit_echo(vmm, s, 1);
        EXPECT_SOON(vmm, vmm_guest_tx_pending(vmm) == 0);
        return 0;
}

static int no_lost_wakeup(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        for (int i = 0; i < 200; i++)
                if (send_during_release(vmm, &s, i % 2))
                        return 1;
        EXPECT_NO_COMPLAINT(vmm);
        return 0;
}

/* A guest whose device has no RX buffers, so that replies stay queued. */
static int guest_without_buffers(uint32_t cid, struct vmm **ret_vmm)
{
        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid, .ring_size = SMALL_RING}, -EBADF, ret_vmm));
        vmm_guest_refill(*ret_vmm, false);
        EXPECT_OK(vmm_take(*ret_vmm));
        return 0;
}

/* Fills the TX ring with requests that will be refused: the device takes all but @left of them, and no more.
 */
static int offer_requests(struct vmm *vmm, unsigned left)
{
        for (int i = 0; i < SMALL_RING; i++)
                EXPECT_OK(vmm_guest_inject(vmm, &unwanted_request, NULL));
        vmm_kick(vmm, VMM_TX);
        EXPECT_SOON(vmm, vmm_guest_tx_pending(vmm) <= left);
        test_sleep(30000);
        EXPECT_RESULT(vmm_guest_tx_pending(vmm), left);
        return 0;
}

/* The guest gives its buffers back until @replies more have come and the device has taken all requests. */
static int deliver_replies(struct vmm *vmm, unsigned replies)
{
        uint64_t goal = vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_RST] + replies;

        vmm_guest_refill(vmm, true);
        EXPECT_SOON(vmm, vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_RST] >= goal);
        EXPECT_SOON(vmm, vmm_guest_tx_pending(vmm) == 0);
        EXPECT(vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_RST] == goal);
        return 0;
}

/* After deliver_replies() the device has a ring of RX buffers: uses them up. */
static int use_up_buffers(struct vmm *vmm)
{
        uint64_t goal = vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_RST] + SMALL_RING;

        vmm_guest_refill(vmm, false);
        EXPECT_OK(offer_requests(vmm, 0));
        EXPECT_SOON(vmm, vmm_stats(vmm)->op_received[VIRTIO_VSOCK_OP_RST] == goal);
        return 0;
}

/* A device that paused because of its replies is still paused after the hand-over, and continues once they
 * are out. */
static int paused_tx_restarts(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        if (guest_without_buffers(cid, &vmm))
                return 1;
        EXPECT_OK(offer_requests(vmm, 0));          /* the first ring's worth: refused, replies queued */
        EXPECT_OK(offer_requests(vmm, SMALL_RING)); /* the second is not taken */
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(vmm_take(vmm));
        test_sleep(30000);
        EXPECT(vmm_guest_tx_pending(vmm) == SMALL_RING);
        return deliver_replies(vmm, 2 * SMALL_RING);
}

/* Replies are queued across each of many hand-overs. Each time the device must take exactly a ring's worth of
 * requests before it pauses: fewer, and the count leaks; more, and it was lost. */
static int queued_replies_balance(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        if (guest_without_buffers(cid, &vmm))
                return 1;
        for (int i = 0; i < 5; i++) {
                EXPECT_OK(offer_requests(vmm, 0));
                EXPECT_OK(vmm_give(vmm));
                EXPECT_OK(vmm_take(vmm));
                EXPECT_OK(offer_requests(vmm, SMALL_RING));
                if (deliver_replies(vmm, 2 * SMALL_RING) || use_up_buffers(vmm))
                        return 1;
        }
        return 0;
}

/* ---- fail fast, contract 9 ---- */

static int expect_fast_failure(uint32_t cid, bool expected)
{
        _cleanup_close_ int fd = host_socket(SOCK_STREAM);
        uint64_t start = test_now();
        int r;

        EXPECT_OK(host_connect_timeout(fd, 200000));
        r = host_connect(fd, cid, VMM_PORT_ECHO);
        if (!expected) {
                EXPECT_RESULT(r, -ETIMEDOUT);
                return 0;
        }
        EXPECT_RESULT(r, -EHOSTUNREACH);
        EXPECT(test_now() - start < 150000);
        return 0;
}

static int never_started_fails_fast(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        EXPECT_OK(vmm_claim(vmm));
        EXPECT_OK(vmm_set_cid(vmm, cid));
        if (expect_fast_failure(cid, test_kernel_fails_fast()))
                return 1;
        EXPECT_OK(vmm_configure(vmm));
        return expect_fast_failure(cid, test_kernel_fails_fast());
}

/* The kernel does not zero the device's memory: what a predecessor left in it must not decide. */
static int fresh_device_is_fresh(uint32_t cid)
{
        for (int i = 0; i < 20; i++) {
                _cleanup_(vmm_freep) struct vmm *used = NULL;

                if (test_guest(cid, &used))
                        return 1;
                EXPECT_OK(vmm_give(used)); /* freed in the state in which sends are queued */
        }
        for (uint32_t i = 0; i < 4; i++)
                if (never_started_fails_fast(cid + i))
                        return 1;
        return 0;
}

static int released_device_queues(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        if (expect_fast_failure(cid, false))
                return 1;
        EXPECT_OK(vmm_claim(vmm)); /* and so on until it is started */
        EXPECT_OK(vmm_configure(vmm));
        return expect_fast_failure(cid, false);
}

/* A guest that resets or reboots looks like this: stopped, and nobody but its VMM has the device. */
static int reset_guest_fails_fast(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_stop(vmm));
        if (expect_fast_failure(cid, test_kernel_fails_fast()))
                return 1;
        EXPECT_OK(vmm_start(vmm));
        if (unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s) || unit_echo(vmm, &s, 1000))
                return 1;
        /* After a hand-over too: it does not void the rule for ever. */
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(vmm_take(vmm));
        EXPECT_OK(vmm_stop(vmm));
        return expect_fast_failure(cid, test_kernel_fails_fast());
}

/* In custody (somebody else holds the device too) a stop may be the beginning of a hand-over. */
static int device_in_custody_queues(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int custody = -EBADF;

        if (test_guest(cid, &vmm))
                return 1;
        custody = dup(vmm_device_fd(vmm));
        EXPECT(custody >= 0);
        EXPECT_OK(vmm_stop(vmm));
        return expect_fast_failure(cid, false);
}

const struct unit_case unit_restart[] = {
        {"tx_is_scanned", 5, tx_is_scanned},
        {"tx_is_scanned_late", 5, tx_is_scanned_late},
        {"rx_is_armed", 5, rx_is_armed},
        {"no_lost_wakeup", 5, no_lost_wakeup},
        {"paused_tx_restarts", 6, paused_tx_restarts},
        {"queued_replies_balance", 6, queued_replies_balance},
        {"never_started_fails_fast", 9, never_started_fails_fast},
        {"fresh_device_is_fresh", 9, fresh_device_is_fresh},
        {"released_device_queues", 9, released_device_queues},
        {"reset_guest_fails_fast", 9, reset_guest_fails_fast},
        {"device_in_custody_queues", 9, device_in_custody_queues},
        {},
};
