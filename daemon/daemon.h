/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * All of cprd's state, in one place. Everything runs in one thread, in one sd-event loop, and nothing blocks.
 */

#include "daemon/config.h"

#include <systemd/sd-event.h>

struct daemon {
        sd_event *event;
        struct config config;
        char *runtime; /* /run/cprd: gone with the boot. Sockets, vms/NAME.json, handoffs/ID/journal */
        char *state;   /* /var/lib/cprd: history/ */
        struct vm *vms;
        struct handoff *handoffs; /* in flight and waiting, in the order in which they were asked for */
        struct server *server;
        struct helpers *helpers;

        /* How a cprd-handoff is started, killed, and asked for: its unit, over sd-bus (units.h). Tests have
         * another way. Starting replaces whatever is left of an earlier one; all return at once. */
        int (*helper_start)(struct daemon *d, const char *id, struct failure *f);
        int (*helper_kill)(struct daemon *d, const char *id);
        int (*helper_look)(struct daemon *d, const char *id);
        struct units *units;
};

/* Takes the configuration over, opens the two directories (made where they are missing) and reads what an
 * earlier cprd left in them: VMs and handoffs in flight. Nothing is listening yet. */
int daemon_init(struct daemon *d, const char *runtime, const char *state, struct config *config,
                struct failure *f);
void daemon_done(struct daemon *d);
