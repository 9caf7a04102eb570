/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * cprd-handoff@ID.service, started and killed over sd-bus: the manager's D-Bus interface,
 * org.freedesktop.systemd1(5). Calls are asynchronous; what fails later ends as a lost cprd-handoff.
 */

#include "daemon/daemon.h"

/* Connects to the system bus. */
int units_open(struct daemon *d, struct failure *f);
void units_close(struct daemon *d);

/* Starts the unit of handoff @id, in the place of an instance of it that may still be there. */
int units_start(struct daemon *d, const char *id, struct failure *f);
/* Asks whether it runs; if not, handoff_helper_absent() is called later. */
int units_look(struct daemon *d, const char *id);
/* Kills its main process, no other one of its control group. */
int units_kill(struct daemon *d, const char *id);
