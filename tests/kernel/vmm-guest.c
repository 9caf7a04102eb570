/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The guest half: virtio-vsock as virtio 1.2, section 5.10, with the behaviour that vmm.h gives each port. */

#include "pattern.h"
#include "vmm-internal.h"

#define PAYLOAD_MAX   (VMM_BUFFER_SIZE - sizeof(struct virtio_vsock_hdr))
#define SHUTDOWN_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

/* ---- receiving ---- */

static void receive_request(struct vmm *vmm, const struct virtio_vsock_hdr *h)
{
        struct guest *guest = &vmm->memory->guest;
        struct connection *c = connection_find(guest, h->src_port, h->dst_port);
        bool known =
                h->dst_port == VMM_PORT_SINK || h->dst_port == VMM_PORT_ECHO || h->dst_port == VMM_PORT_HOLD;

        if (h->dst_port == VMM_PORT_SILENT)
                return;
        if (c) /* the host forgot the old one, as after a connect() that timed out */
                connection_remove(guest, c);
        c = connection_add(guest, h->type, h->src_port, h->dst_port);
        if (!c) {
                vmm_complain(vmm, "the guest has no room for one more connection");
                return;
        }
        c->peer_buf_alloc = h->buf_alloc;
        c->peer_fwd_cnt = h->fwd_cnt;
        if (!known || (connection_is_seqpacket(c) && !guest->seqpacket)) {
                connection_doom(c);
                return;
        }
        c->state = CONNECTION_OPEN;
        c->owed = OWED_RESPONSE;
        guest->stats.accepted++;
}

/* The guest's application reads: all but what VMM_PORT_HOLD is to keep. */
static void connection_read(struct guest *guest, struct connection *c)
{
        uint32_t unheard;

        if (c->guest_port == VMM_PORT_HOLD && !guest->drain)
                return;
        c->rx_read = c->rx_bytes;
        unheard = (uint32_t)c->rx_read - c->told_fwd_cnt;
        if (unheard >= guest->buf_alloc / 2)
                c->owed |= OWED_CREDIT;
}

static void check_message_end(struct vmm *vmm, struct connection *c, bool end)
{
        size_t size = pattern_message_size(connection_rx_seed(c), c->rx_messages);

        if (c->rx_partial > size || end != (c->rx_partial == size)) {
                vmm_complain(vmm, "ports %u to %u: message %llu has %llu bytes%s, not %zu", c->host_port,
                             c->guest_port, (unsigned long long)c->rx_messages,
                             (unsigned long long)c->rx_partial, end ? "" : " so far", size);
        }
        if (end) {
                c->rx_messages++;
                c->rx_partial = 0;
        }
}

static void receive_data(struct vmm *vmm, struct connection *c, const struct virtio_vsock_hdr *h,
                         const uint8_t *payload)
{
        struct guest *guest = &vmm->memory->guest;
        size_t right = pattern_check(connection_rx_seed(c), c->rx_bytes, payload, h->len);

        if (right < h->len)
                vmm_complain(vmm, "ports %u to %u: wrong byte at %llu", c->host_port, c->guest_port,
                             (unsigned long long)(c->rx_bytes + right));
        c->rx_bytes += h->len;
        guest->stats.bytes_received += h->len;
        if (c->rx_bytes - c->rx_read > guest->buf_alloc)
                vmm_complain(vmm, "ports %u to %u: the host sent more than it had credit for", c->host_port,
                             c->guest_port);
        if (connection_is_seqpacket(c)) {
                c->rx_partial += h->len;
                check_message_end(vmm, c, h->flags & VIRTIO_VSOCK_SEQ_EOM);
        }
        if (c->guest_port == VMM_PORT_ECHO && !c->from_guest)
                c->tx_goal = connection_is_seqpacket(c) ? c->rx_messages : c->rx_bytes;
        connection_read(guest, c);
}

static void receive_shutdown(struct connection *c, uint32_t flags)
{
        c->peer_shutdown |= flags;
        if (c->peer_shutdown == SHUTDOWN_BOTH) {
                connection_doom(c);
                return;
        }
        /* A sink reports how much it got; the sender compares that with what it sent. */
        if (c->guest_port == VMM_PORT_SINK && !c->from_guest && (flags & VIRTIO_VSOCK_SHUTDOWN_SEND))
                c->tx_goal = connection_is_seqpacket(c) ? 1 : sizeof(uint64_t);
}

static void receive_reset(struct guest *guest, struct connection *c)
{
        if (c->state == CONNECTION_CONNECTING)
                guest->stats.refused++;
        else if (c->state == CONNECTION_CLOSING)
                guest->stats.finished++;
        connection_remove(guest, c);
}

static void receive_stray(struct guest *guest, const struct virtio_vsock_hdr *h)
{
        struct connection *c;

        if (h->op == VIRTIO_VSOCK_OP_RST)
                return;
        c = connection_add(guest, h->type, h->src_port, h->dst_port);
        if (c)
                connection_doom(c);
}

static void receive_packet(struct vmm *vmm, const struct virtio_vsock_hdr *h, const uint8_t *payload)
{
        struct guest *guest = &vmm->memory->guest;
        struct connection *c;

        guest->stats.packets_received++;
        guest->stats.op_received[h->op & 7]++;
        if (vmm->observer)
                vmm->observer(h, payload, vmm->userdata);
        if (h->src_cid != GUEST_HOST_CID || h->dst_cid != guest->cid)
                vmm_complain(vmm, "packet from CID %llu to CID %llu", (unsigned long long)h->src_cid,
                             (unsigned long long)h->dst_cid);
        if (h->op == VIRTIO_VSOCK_OP_REQUEST) {
                receive_request(vmm, h);
                return;
        }
        c = connection_find(guest, h->src_port, h->dst_port);
        if (!c) {
                receive_stray(guest, h);
                return;
        }
        c->peer_buf_alloc = h->buf_alloc;
        c->peer_fwd_cnt = h->fwd_cnt;
        if (h->op == VIRTIO_VSOCK_OP_RST) {
                receive_reset(guest, c);
        } else if (h->op == VIRTIO_VSOCK_OP_RESPONSE && c->state == CONNECTION_CONNECTING) {
                c->state = CONNECTION_OPEN;
                guest->stats.connected++;
        } else if (h->op == VIRTIO_VSOCK_OP_RW && c->state != CONNECTION_DOOMED) {
                receive_data(vmm, c, h, payload);
        } else if (h->op == VIRTIO_VSOCK_OP_SHUTDOWN && c->state != CONNECTION_DOOMED) {
                receive_shutdown(c, h->flags);
        } else if (h->op == VIRTIO_VSOCK_OP_CREDIT_REQUEST) {
                c->owed |= OWED_CREDIT;
        }
}

static void refill(struct vmm *vmm)
{
        struct guest *guest = &vmm->memory->guest;
        bool published = false;

        while (guest->refill && vmm_ring_outstanding(vmm, VMM_RX) < guest->ring_size) {
                vmm_ring_publish(vmm, VMM_RX, VMM_BUFFER_SIZE);
                published = true;
        }
        if (published)
                vmm_ring_notify(vmm, VMM_RX);
}

int vmm_guest_receive(struct vmm *vmm)
{
        struct guest *guest = &vmm->memory->guest;
        struct guest_ring *ring = &vmm->memory->rings[VMM_RX];
        int n = 0;

        for (; vmm_ring_has_used(vmm, VMM_RX); n++) {
                uint16_t slot = guest->ring[VMM_RX].used++ % guest->ring_size;
                struct virtio_vsock_hdr h;

                memcpy(&h, ring->buffers[slot], sizeof(h));
                if (ring->used.entries[slot].id != slot)
                        vmm_complain(vmm, "RX buffer %u came before buffer %u", ring->used.entries[slot].id,
                                     slot);
                else if (h.len > PAYLOAD_MAX || ring->used.entries[slot].len != sizeof(h) + h.len)
                        vmm_complain(vmm, "a packet of %u bytes in %u bytes of buffer", h.len,
                                     ring->used.entries[slot].len);
                else
                        receive_packet(vmm, &h, ring->buffers[slot] + sizeof(h));
        }
        refill(vmm);
        return n;
}

/* ---- transmitting ---- */

/* The buffer for the next packet; NULL: the ring is full. */
static uint8_t *tx_buffer(struct vmm *vmm)
{
        struct guest *guest = &vmm->memory->guest;

        if (vmm_guest_tx_pending(vmm) >= guest->ring_size)
                return NULL;
        return vmm->memory->rings[VMM_TX].buffers[guest->ring[VMM_TX].available % guest->ring_size];
}

int vmm_guest_inject(struct vmm *vmm, const struct virtio_vsock_hdr *header, const void *data)
{
        struct guest *guest = &vmm->memory->guest;
        struct virtio_vsock_hdr h = *header;
        uint8_t *buffer = tx_buffer(vmm);

        if (!buffer)
                return -ENOBUFS;
        if (h.len > PAYLOAD_MAX)
                return -EMSGSIZE;
        h.src_cid = guest->cid;
        h.dst_cid = GUEST_HOST_CID;
        memcpy(buffer, &h, sizeof(h));
        if (data)
                memcpy(buffer + sizeof(h), data, h.len);
        vmm_ring_publish(vmm, VMM_TX, sizeof(h) + h.len);
        guest->stats.packets_sent++;
        guest->stats.bytes_sent += h.len;
        return 0;
}

static struct virtio_vsock_hdr connection_header(const struct guest *guest, struct connection *c, uint16_t op)
{
        c->told_fwd_cnt = (uint32_t)c->rx_read;
        return (struct virtio_vsock_hdr){
                .src_port = c->guest_port,
                .dst_port = c->host_port,
                .type = c->type,
                .op = op,
                .buf_alloc = guest->buf_alloc,
                .fwd_cnt = c->told_fwd_cnt,
        };
}

static int send_control(struct vmm *vmm, struct connection *c, uint16_t op, uint32_t flags)
{
        struct virtio_vsock_hdr h = connection_header(&vmm->memory->guest, c, op);

        h.flags = flags;
        return vmm_guest_inject(vmm, &h, NULL);
}

/* How much of the stream, or of the message under way, the next packet can carry; 0: nothing to send. */
static size_t next_chunk(const struct connection *c)
{
        uint32_t credit = c->peer_buf_alloc - ((uint32_t)c->tx_bytes - c->peer_fwd_cnt);
        uint64_t left;

        if (connection_is_seqpacket(c)) {
                size_t size = c->from_guest || c->guest_port == VMM_PORT_ECHO
                                      ? pattern_message_size(connection_tx_seed(c), c->tx_messages)
                                      : sizeof(uint64_t);

                left = c->tx_messages < c->tx_goal ? size - c->tx_partial : 0;
        } else {
                left = c->tx_goal - c->tx_bytes;
        }
        if (left > PAYLOAD_MAX)
                left = PAYLOAD_MAX;
        return left < credit ? left : credit;
}

static void fill_payload(const struct connection *c, uint8_t *data, size_t size)
{
        uint64_t count = connection_is_seqpacket(c) ? c->rx_messages : c->rx_bytes;

        if (c->guest_port == VMM_PORT_SINK && !c->from_guest)
                memcpy(data, (uint8_t *)&count + c->tx_bytes, size);
        else
                pattern_fill(connection_tx_seed(c), c->tx_bytes, data, size);
}

/* Returns false when the ring is full. */
static bool send_data(struct vmm *vmm, struct connection *c)
{
        uint8_t data[PAYLOAD_MAX];
        size_t size;

        if (c->state != CONNECTION_OPEN || (c->peer_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV))
                return true;
        while ((size = next_chunk(c)) > 0) {
                struct virtio_vsock_hdr h = connection_header(&vmm->memory->guest, c, VIRTIO_VSOCK_OP_RW);
                bool end = false;

                if (connection_is_seqpacket(c)) {
                        size_t whole = c->from_guest || c->guest_port == VMM_PORT_ECHO
                                               ? pattern_message_size(connection_tx_seed(c), c->tx_messages)
                                               : sizeof(uint64_t);

                        end = c->tx_partial + size == whole;
                }
                h.len = size;
                h.flags = end ? VIRTIO_VSOCK_SEQ_EOM : 0;
                fill_payload(c, data, size);
                if (vmm_guest_inject(vmm, &h, data) < 0)
                        return false;
                c->owed &= ~OWED_CREDIT;
                c->tx_bytes += size;
                c->tx_partial = end || !connection_is_seqpacket(c) ? 0 : c->tx_partial + size;
                c->tx_messages += end;
        }
        return true;
}

/* Sends what @c owes, in the order the protocol wants. Returns false when the ring is full; *ret_gone if the
 * last word has been said. */
static bool transmit_connection(struct vmm *vmm, struct connection *c, bool *ret_gone)
{
        static const struct {
                uint8_t owed;
                uint16_t op;
                uint32_t flags;
        } last[] = {
                {OWED_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0},
                {OWED_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN, SHUTDOWN_BOTH},
                {OWED_RST, VIRTIO_VSOCK_OP_RST, 0},
        };

        *ret_gone = false;
        if (c->owed & (OWED_REQUEST | OWED_RESPONSE)) {
                uint16_t op = c->owed & OWED_REQUEST ? VIRTIO_VSOCK_OP_REQUEST : VIRTIO_VSOCK_OP_RESPONSE;

                if (send_control(vmm, c, op, 0) < 0)
                        return false;
                c->owed &= ~(OWED_REQUEST | OWED_RESPONSE);
        }
        if (!send_data(vmm, c))
                return false;
        if (connection_is_done(c)) {
                c->state = CONNECTION_CLOSING;
                c->owed |= OWED_SHUTDOWN;
        }
        for (size_t i = 0; i < ELEMENTSOF(last); i++) {
                if (!(c->owed & last[i].owed))
                        continue;
                if (send_control(vmm, c, last[i].op, last[i].flags) < 0)
                        return false;
                c->owed &= ~last[i].owed;
        }
        *ret_gone = c->state == CONNECTION_DOOMED;
        return true;
}

void vmm_guest_transmit(struct vmm *vmm)
{
        struct guest *guest = &vmm->memory->guest;
        uint64_t before = guest->stats.packets_sent;

        for (unsigned n = guest->n_connections; n > 0 && guest->n_connections > 0; n--) {
                struct connection *c = &guest->connections[guest->cursor % guest->n_connections];
                bool gone;

                if (!transmit_connection(vmm, c, &gone))
                        break;
                if (gone)
                        connection_remove(guest, c);
                else
                        guest->cursor++;
        }
        if (guest->stats.packets_sent != before)
                vmm_ring_notify(vmm, VMM_TX);
}

/* ---- what tests ask of the guest ---- */

int vmm_guest_connect(struct vmm *vmm, uint16_t type, uint32_t guest_port, uint32_t host_port, uint64_t size)
{
        struct guest *guest = &vmm->memory->guest;
        struct connection *c;

        if (connection_find(guest, host_port, guest_port))
                return -EEXIST;
        c = connection_add(guest, type, host_port, guest_port);
        if (!c)
                return -ENOBUFS;
        c->from_guest = true;
        c->state = CONNECTION_CONNECTING;
        c->owed = OWED_REQUEST;
        c->tx_goal = size;
        return 0;
}

void vmm_guest_drain(struct vmm *vmm)
{
        struct guest *guest = &vmm->memory->guest;

        guest->drain = true;
        for (unsigned i = 0; i < guest->n_connections; i++)
                connection_read(guest, &guest->connections[i]);
}

void vmm_guest_refill(struct vmm *vmm, bool on)
{
        vmm->memory->guest.refill = on;
}

unsigned vmm_guest_connections(const struct vmm *vmm)
{
        return vmm->memory->guest.n_connections;
}

bool vmm_guest_has(const struct vmm *vmm, uint32_t host_port, uint32_t guest_port, uint64_t *ret_received,
                   uint64_t *ret_sent)
{
        struct connection *c = connection_find(&vmm->memory->guest, host_port, guest_port);

        if (ret_received)
                *ret_received = c ? c->rx_bytes : 0;
        if (ret_sent)
                *ret_sent = c ? c->tx_bytes : 0;
        return c;
}
