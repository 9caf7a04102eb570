/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The quiet socket of a connection (connection.h): one end of a pair that is full, so that nothing can be
 * written to it, and whose other end nobody uses. Both QEMUs hold both ends, lest it hang up when
 * cprd-handoff dies.
 *
 * A QEMU makes every fd that it gets over QMP a blocking one, and with it that of whoever shares it
 * (tcp_chr_recv()), while it must never wait for a client. So a connection is given only when neither QEMU
 * uses it, and is made non-blocking again before one does.
 */

#include "handoff/handoff.h"

/* Makes that of the connection @c, number @i; gives it to both, and connects the destination's chardev to it.
 */
int quiet_make(struct handoff *h, json_object *c, size_t i, struct failure *f);
/* Gives the destination the connection itself, for later. */
int quiet_give(struct handoff *h, json_object *c, size_t i, struct failure *f);
/* Closes what a QEMU holds under names. @used: its quiet end has become the chardev's. */
void quiet_forget(struct handoff *h, struct qmp *q, size_t i, bool used);

/* Whether @fd of the process is the socket whose inode is the member @which of @c: "quiet", or "live". */
bool quiet_is_at(const struct process *p, json_object *c, const char *which, int fd);
/* Makes @fd of the process non-blocking; false: there is no such fd. */
bool quiet_keeps_going(const struct process *p, int fd);
