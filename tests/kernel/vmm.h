/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A fake VMM: what QEMU and a Linux guest are to /dev/vhost-vsock, without either.
 *
 * It has two halves. The VMM half owns the device: memory table over a memfd, the two split rings vhost-vsock
 * works on (0: RX, host to guest; 1: TX, guest to host; the event queue is the VMM's own business and never
 * reaches the kernel), eventfds, CID, start, stop, release, claim. The guest half plays virtio-vsock
 * (virtio 1.2, section 5.10) with fixed behaviour by port, see below.
 *
 * Everything the guest knows (rings, buffers, connections, counters) lies in the memfd. So a hand-over is
 * what it is for QEMU: the new process gets the device and the guest's memory, two fds, and goes on where the
 * old one stopped:
 *
 *      old process                             new process
 *      vmm_stop(v)
 *      vmm_release(v)
 *      vmm_send(v, socket)              ->     vmm_receive(socket, &v)
 *      vmm_free(v)                             vmm_claim(v), vmm_configure(v), vmm_start(v)
 *
 * A vmm is used by one thread. Functions return 0 or more, or a negative errno; what the kernel answered to
 * an ioctl is passed on unchanged, so tests can compare it.
 */

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMM_DEVICE "/dev/vhost-vsock"

/* Ports of the guest. A connection to any other port is refused with RST. */
enum {
        VMM_PORT_SINK = 100,   /* swallows; every byte must be the pattern's */
        VMM_PORT_ECHO = 101,   /* swallows, and sends as much of the other direction's pattern */
        VMM_PORT_SILENT = 102, /* never answers a REQUEST: connect() times out */
        VMM_PORT_HOLD = 103,   /* accepts and then gives no credit back, until vmm_guest_drain() */
};

enum {
        VMM_RX = 0,
        VMM_TX = 1,
        VMM_RINGS = 2,
        VMM_RING_MAX = 256,     /* entries */
        VMM_BUFFER_SIZE = 4096, /* bytes of each ring buffer, header included */
        VMM_CONNECTIONS_MAX = 512,
};

struct vmm;

struct vmm_config {
        uint32_t cid;
        uint16_t ring_size; /* entries of each ring, a power of two up to VMM_RING_MAX; 0: 128 as in QEMU */
        bool no_seqpacket;  /* do not acknowledge VIRTIO_VSOCK_F_SEQPACKET */
        uint32_t buf_alloc; /* the guest's receive buffer per connection, bytes; 0: 256 KiB as in Linux */
};

/* What happened in the guest since it was made. All of it survives hand-overs. */
struct vmm_stats {
        uint64_t packets_received; /* from the host */
        uint64_t packets_sent;
        uint64_t bytes_received; /* payload */
        uint64_t bytes_sent;
        uint64_t op_received[8]; /* by enum virtio_vsock_op */
        uint64_t accepted;       /* connections from the host */
        uint64_t connected;      /* connections to the host that got their RESPONSE */
        uint64_t refused;        /* connections to the host that got RST instead */
        uint64_t finished;       /* both directions done and closed, every announced byte seen */
        uint64_t claims;
};

/* ---- the VMM half ---- */

/* A new guest with fresh memory. Opens the device unless @device_fd is an fd, which is then taken over, also
 * when the call fails. The device is not claimed yet. */
int vmm_new(const struct vmm_config *config, int device_fd, struct vmm **ret_vmm);

/* The guest in @memory_fd on @device_fd, as received from another process. Takes over both fds, also on
 * failure. EBADMSG: the memory is not that of a fake VMM. */
int vmm_adopt(int device_fd, int memory_fd, struct vmm **ret_vmm);

/* Closes the fds of this process. Frees NULL too. */
void vmm_free(struct vmm *vmm);
void vmm_freep(struct vmm **vmm);

int vmm_claim(struct vmm *vmm);     /* VHOST_SET_OWNER */
int vmm_configure(struct vmm *vmm); /* features, memory table, rings with new eventfds, guest CID */
int vmm_start(struct vmm *vmm);     /* SET_RUNNING 1 */
int vmm_stop(struct vmm *vmm); /* SET_RUNNING 0, and checks that the ring bases are where the guest thinks */
int vmm_release(struct vmm *vmm); /* VHOST_RESET_OWNER alone; also what reclaims a dead owner's device */
int vmm_set_cid(struct vmm *vmm, uint32_t cid);

int vmm_take(struct vmm *vmm); /* claim, configure, start */
int vmm_give(struct vmm *vmm); /* stop, release */

/* One message of one byte with both fds over a unix socket; the sender keeps its own. EPIPE: the peer is
 * gone. */
int vmm_send(struct vmm *vmm, int socket_fd);
int vmm_receive(int socket_fd, struct vmm **ret_vmm);

/* For processes that hand one guest to and fro: closes the device and the eventfds but keeps the memory
 * mapped, until vmm_receive_parked() gets the same guest again. EBADMSG: it is another. */
void vmm_park(struct vmm *vmm);
int vmm_receive_parked(int socket_fd, struct vmm *vmm);

/* Borrowed fds. The call fds become readable when the kernel used a buffer; -EBADF before vmm_configure(). */
int vmm_device_fd(const struct vmm *vmm);
int vmm_memory_fd(const struct vmm *vmm);
int vmm_call_fd(const struct vmm *vmm, int ring);
int vmm_kick_fd(const struct vmm *vmm, int ring);
uint32_t vmm_cid(const struct vmm *vmm);

/* ---- the guest half ---- */

/* Lets the guest do what it has to do now: take packets, answer, send. Returns how many packets it took. */
int vmm_pump(struct vmm *vmm);
/* The same, but waits up to @timeout_ms for the kernel to use a buffer if there is nothing to do. */
int vmm_pump_wait(struct vmm *vmm, int timeout_ms);

/* A connection from @guest_port to @host_port of the host, @type VIRTIO_VSOCK_TYPE_…. When accepted, the
 * guest sends
 * @size bytes of the pattern (seqpacket: @size messages), then shuts down, and checks what it receives
 * meanwhile. EEXIST, ENOBUFS (table full). The REQUEST leaves with the next vmm_pump(). */
int vmm_guest_connect(struct vmm *vmm, uint16_t type, uint32_t guest_port, uint32_t host_port, uint64_t size);
/* The guest's connections to VMM_PORT_HOLD read what they hold, from now on. */
void vmm_guest_drain(struct vmm *vmm);
/* Takes back (false) or gives (true) the guest's habit of giving each RX buffer back to the device at once.
 * While it is off the device runs out of buffers and packets queue up in the kernel. */
void vmm_guest_refill(struct vmm *vmm, bool on);
/* Puts a packet of the test's own making on the TX ring, without a kick; the CIDs of @header are filled in.
 * ENOBUFS: the ring is full. */
int vmm_guest_inject(struct vmm *vmm, const struct virtio_vsock_hdr *header, const void *data);
void vmm_kick(struct vmm *vmm, int ring); /* as the guest does, whatever the device thinks of notifications */
/* How many TX buffers the device has not used yet. */
unsigned vmm_guest_tx_pending(struct vmm *vmm);

/* Connections the guest has now, and how many bytes each way the one with these ports has seen (0 if none).
 */
unsigned vmm_guest_connections(const struct vmm *vmm);
bool vmm_guest_has(const struct vmm *vmm, uint32_t host_port, uint32_t guest_port, uint64_t *ret_received,
                   uint64_t *ret_sent);
const struct vmm_stats *vmm_stats(const struct vmm *vmm);
/* The first thing that must not happen (wrong byte, packet out of credit, lost message boundary): NULL if
 * none. */
const char *vmm_complaint(const struct vmm *vmm);

/* Called for each packet from the host before the guest acts on it. Not handed over. */
typedef void (*vmm_observer)(const struct virtio_vsock_hdr *header, const void *payload, void *userdata);
void vmm_observe(struct vmm *vmm, vmm_observer observer, void *userdata);
