/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The file of -pidfile, which QEMU locks, and removes by its path when it exits by itself. So the destination
 * writes and locks one of its own beside it, PATH.cprd-ID, which is renamed over PATH when the source has
 * been killed. The lock is on the file, not on its name. That QEMU will not find the name that it knows when
 * it exits, so the file stays then, unlocked.
 */

#include "handoff/handoff.h"

void check_pidfile(struct handoff *h, struct findings *fs, const char *id);

/* Hooks of the table in resources.c. */
void pidfile_recover(struct handoff *h);
int pidfile_make(struct handoff *h, struct failure *f);
int pidfile_publish(struct handoff *h, struct failure *f);
void pidfile_remove(struct handoff *h);
