/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * VNC displays. The destination is started with the same display and settings but without an address, and
 * gets the source's own listening socket, which stays open all the time: a client that connects meanwhile
 * waits in it. It is given over QMP (getfd) while the source runs, and is listened to (display-update) when
 * the source is gone. Where a display listens is what the source says now: an earlier handoff has taken the
 * address from the command line. The clients' connections are cut. QEMU: vnc_display_update() in ui/vnc.c,
 * which knows the first display only, and no websockets.
 */

#include "handoff/handoff.h"

void check_vnc(struct handoff *h, struct findings *fs, const char *id);

/* Hooks of the table in resources.c. */
int vnc_match(struct handoff *h, struct failure *f);
int vnc_retire(struct handoff *h, struct failure *f);
