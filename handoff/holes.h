/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The numbers between a source's fds that are no fd, filled for the time of the migration.
 *
 * QEMU forgets to take the RAM of a device (a NIC's ROM, say) out of its CPR state when the device is
 * unplugged, and sends the number of an fd that it has closed. `migrate` then fails (10.0), or kills it
 * (11.1.3): seen after a few hot-unplugs. Which numbers those are QEMU tells nobody, but they were given out
 * from the lowest on, so that they lie between its fds or a little above them. Any fd there will do: the
 * destination looks for none of that name.
 */

#include "handoff/handoff.h"

/* Fills them with eventfds, made in the source: none of its own is replaced. EMFILE, with a remedy: there are
 * too many, or the source's RLIMIT_NOFILE has no room for them. The source's guest runs on. */
int holes_fill(struct handoff *h, struct failure *f);
/* Takes the eventfds out of a source that goes on. That it fails costs log lines, and the source some fds. */
void holes_clear(struct handoff *h);
