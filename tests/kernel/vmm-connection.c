/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The guest's connections, which live in its memory and go with it from one process to another. */

#include "vmm-internal.h"

#include "pattern.h"

struct connection *connection_find(struct guest *guest, uint32_t host_port, uint32_t guest_port)
{
        for (unsigned i = 0; i < guest->n_connections; i++) {
                struct connection *c = &guest->connections[i];

                if (c->host_port == host_port && c->guest_port == guest_port)
                        return c;
        }
        return NULL;
}

/* NULL: the table is full. */
struct connection *connection_add(struct guest *guest, uint16_t type, uint32_t host_port, uint32_t guest_port)
{
        struct connection *c;

        if (guest->n_connections == VMM_CONNECTIONS_MAX)
                return NULL;
        c = &guest->connections[guest->n_connections++];
        *c = (struct connection){.type = type, .host_port = host_port, .guest_port = guest_port};
        return c;
}

void connection_remove(struct guest *guest, struct connection *c)
{
        *c = guest->connections[--guest->n_connections];
}

bool connection_is_seqpacket(const struct connection *c)
{
        return c->type == VIRTIO_VSOCK_TYPE_SEQPACKET;
}

uint64_t connection_rx_seed(const struct connection *c)
{
        return pattern_seed(c->host_port, c->guest_port, PATTERN_TO_GUEST);
}

uint64_t connection_tx_seed(const struct connection *c)
{
        return pattern_seed(c->host_port, c->guest_port, PATTERN_TO_HOST);
}

void connection_doom(struct connection *c)
{
        c->state = CONNECTION_DOOMED;
        c->owed = OWED_RST;
}

/* Whether all is sent and, unless the guest opened the connection, the host has ended its data. */
bool connection_is_done(const struct connection *c)
{
        uint64_t sent = connection_is_seqpacket(c) ? c->tx_messages : c->tx_bytes;

        if (c->state != CONNECTION_OPEN || sent < c->tx_goal || c->tx_partial > 0)
                return false;
        return c->from_guest || (c->peer_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND);
}
