/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What this host can do. The kernel says so only by doing: a scratch device is claimed and released. That and
 * asking a QEMU for its version may take a while or hang, so it is done in a child, with a deadline.
 */

#include "daemon/daemon.h"

struct probe;

/* Called once: with the reply of the method Probe (borrowed), or NULL and why. */
typedef void (*probe_done_t)(json_object *reply, const struct failure *f, void *userdata);

/* @binaries: an array of paths, borrowed. */
int probe_start(struct daemon *d, json_object *binaries, probe_done_t done, void *userdata,
                struct probe **ret, struct failure *f);
/* Nobody wants to know any more. Not from within done(). */
void probe_cancel(struct probe *p);
