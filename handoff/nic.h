/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * TAP devices, with vhost-net or without: the destination gets the source's own queues. An open queue may be
 * in two processes, but not be used by two: what one does to it (offloads, the size of headers, switching
 * queues on and off), and each frame that one takes, the other misses. So the destination has a scratch
 * device (scratch.h) in place of each until it claims; then the true ones take their places, in the state in
 * which the source has left them, with the frames that have come meanwhile.
 *
 * As long as its guest does not run a QEMU takes one frame of each queue, and then waits with it. The
 * destination is fed one on the scratch device, so that it does not take one of the guest's.
 */

#include "handoff/inherit.h"

/* For the command line: the source's fds of the TAP interface @ifname, in ascending order; NULL: of all of
 * them. Returns how many, at most NIC_QUEUES_MAX. */
size_t nic_find(const struct process *p, const char *ifname, int fds[static NIC_QUEUES_MAX]);

/* For check.c: whether this host can do what it takes. */
void nic_check(struct handoff *h, struct findings *fs, const char *id);

/* Hooks of the table in resources.c. */
int nic_make(struct handoff *h, struct failure *f);
int nic_inherit(struct handoff *h, struct inheritance *in, struct failure *f);
int nic_match(struct handoff *h, struct failure *f);
int nic_loaded(struct handoff *h, struct failure *f);
int nic_claim(struct handoff *h, struct failure *f);
void nic_forget(struct handoff *h);
