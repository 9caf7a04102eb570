/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the two halves of the fake VMM share: the layout of the guest's memory. */

#include <linux/virtio_ring.h>

#include "../../proto/base.h"
#include "vmm.h"

#define GUEST_MAGIC    0x6b636f7376646370ULL
#define GUEST_HOST_CID 2

enum connection_state {
        CONNECTION_CONNECTING, /* REQUEST is out or owed */
        CONNECTION_OPEN,
        CONNECTION_CLOSING, /* our SHUTDOWN is out, the host's RST ends it */
        CONNECTION_DOOMED,  /* only the RST is left to send */
};

/* Control packets that a connection still has to send: they wait for room on the TX ring. */
enum {
        OWED_REQUEST = 1 << 0,
        OWED_RESPONSE = 1 << 1,
        OWED_CREDIT = 1 << 2,
        OWED_SHUTDOWN = 1 << 3,
        OWED_RST = 1 << 4,
};

struct connection {
        uint32_t host_port;
        uint32_t guest_port;
        uint16_t type;
        uint8_t state;
        uint8_t owed;
        uint8_t peer_shutdown; /* VIRTIO_VSOCK_SHUTDOWN_… of the host */
        bool from_guest;       /* opened by the guest */

        /* Received, in bytes, and for seqpacket also in messages and bytes of the one not yet ended. */
        uint64_t rx_bytes;
        uint64_t rx_messages;
        uint64_t rx_partial;
        uint64_t rx_read;      /* bytes the guest's application took; rx_bytes except on VMM_PORT_HOLD */
        uint32_t told_fwd_cnt; /* the fwd_cnt the host heard last */

        /* Sent. The goal is in bytes, for seqpacket in messages. */
        uint64_t tx_bytes;
        uint64_t tx_messages;
        uint64_t tx_partial;
        uint64_t tx_goal;
        uint32_t peer_buf_alloc;
        uint32_t peer_fwd_cnt;
};

/* Where the guest's driver is on one ring. Descriptor number i always describes buffer number i, and
 * vhost-vsock uses buffers in order, so two free-running counters say it all. */
struct ring_state {
        uint16_t available; /* buffers ever made available */
        uint16_t used;      /* buffers ever seen used */
};

/* The head of the guest's memory. Survives the process. */
struct guest {
        uint64_t magic;
        uint32_t cid;
        uint32_t buf_alloc;
        uint16_t ring_size;
        bool seqpacket;
        bool refill;
        bool drain;
        struct ring_state ring[VMM_RINGS];
        struct vmm_stats stats;
        char complaint[192];
        unsigned cursor; /* which connection sends first, so that all get room on the ring */
        unsigned n_connections;
        struct connection connections[VMM_CONNECTIONS_MAX];
};

/* A ring as the virtio standard lays it out, with each part on pages of its own, and its buffers. */
struct guest_ring {
        struct vring_desc descriptors[VMM_RING_MAX];
        union {
                struct {
                        uint16_t flags;
                        uint16_t index;
                        uint16_t entries[VMM_RING_MAX];
                } available;
                uint8_t available_page[4096];
        };
        union {
                struct {
                        uint16_t flags;
                        uint16_t index;
                        struct vring_used_elem entries[VMM_RING_MAX];
                } used;
                uint8_t used_page[4096];
        };
        uint8_t buffers[VMM_RING_MAX][VMM_BUFFER_SIZE];
};

struct guest_memory {
        union {
                struct guest guest;
                uint8_t guest_pages[(sizeof(struct guest) + 4095) / 4096 * 4096];
        };
        struct guest_ring rings[VMM_RINGS];
};

struct vmm {
        int device_fd;
        int memory_fd;
        int kick_fd[VMM_RINGS];
        int call_fd[VMM_RINGS];
        int error_fd;
        struct guest_memory *memory;
        vmm_observer observer;
        void *userdata;
};

/* Records the first thing that must not happen; the guest continues. */
void vmm_complain(struct vmm *vmm, const char *format, ...) _printf_(2, 3);
/* Makes buffer number ring->available available. */
void vmm_ring_publish(struct vmm *vmm, int ring, uint32_t size);
unsigned vmm_ring_outstanding(const struct vmm *vmm, int ring);
/* True if the device has used a buffer that the guest has not seen. */
bool vmm_ring_has_used(const struct vmm *vmm, int ring);
/* Rings the doorbell unless the device said it is not needed. */
void vmm_ring_notify(struct vmm *vmm, int ring);
/* Takes and answers what lies in the RX ring; sends what connections have to send. vmm-guest.c */
int vmm_guest_receive(struct vmm *vmm);
void vmm_guest_transmit(struct vmm *vmm);
void vmm_close_eventfds(struct vmm *vmm);
/* vmm-connection.c */
struct connection *connection_find(struct guest *guest, uint32_t host_port, uint32_t guest_port);
struct connection *connection_add(struct guest *guest, uint16_t type, uint32_t host_port,
                                  uint32_t guest_port);
void connection_remove(struct guest *guest, struct connection *c);
bool connection_is_seqpacket(const struct connection *c);
uint64_t connection_rx_seed(const struct connection *c);
uint64_t connection_tx_seed(const struct connection *c);
void connection_doom(struct connection *c);
bool connection_is_done(const struct connection *c);
