/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The live clients of listening unix chardevs (a serial console, a guest agent): the destination gets their
 * connections, so that a client sees no close and no byte is lost or doubled.
 *
 * Only one QEMU may use a connection, and the one that does may not be given up: a byte that it reads after
 * its device's state has been saved is lost, and one that it writes before a rollback comes twice. So there
 * is a quiet socket, with nothing to read and no room to write, that takes the connection's place:
 *
 * In match the destination's chardev is connected to it (QMP add_client): its guest, whose driver would be
 * told of a close otherwise, finds it connected.
 *
 * In load, before the guest is stopped, it is put over the fd in the source (dup3 by injection), which keeps
 * the connection under another number. What the guest writes from then on waits in the device, whose state
 * has it: a UART's transmit register, a buffer in the port's queue. What the client writes waits in the
 * connection, which the destination gets too (QMP getfd), and does not use yet.
 *
 * In commit, as soon as the guest runs, the connection is put over the quiet socket in the destination.
 *
 * On a way back the source has it again. A virtconsole drops what it cannot write at once, and a monitor's
 * connection has a state of its own: these are cut. QEMU: chardev/char-socket.c, hw/char/virtio-console.c,
 * hw/char/serial.c.
 */

#include "handoff/handoff.h"

/* Whether the client of the source's chardev @label keeps its connection. */
bool connection_is_kept(const struct handoff *h, const char *label);

/* Hooks of the table in resources.c. */
int connections_match(struct handoff *h, struct failure *f);
int connections_part(struct handoff *h, struct failure *f);
void connections_rejoin(struct handoff *h);
int connections_move(struct handoff *h, struct failure *f);
