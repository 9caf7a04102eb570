/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Scratch interfaces: TAP devices in a network namespace of their own, connected to nothing. A destination
 * gets one in place of each queue of the source's TAP device, until its guest is about to run. What it does
 * to it while it builds its machine and loads the state (header size, offloads, attaching queues) is real and
 * fails or succeeds as it would on the true one, whose state must not change and whose frames it must not
 * take while the source uses it.
 *
 * They end with their last fd. One device for each queue: a frame reaches the queue that it is meant for.
 */

#include "proto/base.h"

struct scratch {
        int fd;   /* owned: the queue */
        int wire; /* owned: a packet socket in its namespace; -EBADF: none */
        int ifindex;
        bool was_fed;
};

/* @like: the queue that it stands for, whose flags it gets. */
int scratch_make(struct scratch *ret, int like, struct failure *f);
void scratch_done(struct scratch *s);

/* Whether the queue is attached: one of a device with several can be switched off. */
bool scratch_is_attached(const struct scratch *s);
/* Sends a frame that no guest wants to whoever reads the queue. */
int scratch_feed(struct scratch *s, struct failure *f);
/* Whether a frame waits in it. */
bool scratch_has_frame(const struct scratch *s);
