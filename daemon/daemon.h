/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * All of cprd's state, in one place. Everything runs in one thread, in one sd-event loop, and nothing blocks:
 * work that could is done by a child (children.h).
 */

#include "daemon/children.h"
#include "daemon/helpers.h"
#include "daemon/queue.h"
#include "daemon/server.h"

struct daemon {
        sd_event *event;
        struct config config;
        char *runtime; /* /run/cprd, which a reboot clears. Sockets, vms/NAME.json, handoffs/ID/journal,
                          learnt.json */
        char *state;   /* /var/lib/cprd: history/ */
        int lock;      /* on the runtime directory: there is only one cprd */
        struct children *children;
        struct registry registry;
        struct history history;
        struct learnt learnt;
        struct queue queue;
        struct helpers helpers;
        struct server server;
};

/* Takes over the configuration, opens the two directories (creating them if missing) and reads what an
 * earlier cprd left in them: VMs, and jobs in flight. Does not listen yet. EBUSY: another cprd runs there. */
int daemon_init(struct daemon *d, const char *runtime, const char *state, struct config *config,
                struct failure *f);
/* Listens, and resumes what an earlier cprd left. @starter and @dispatch: see queue.h, server.h. */
int daemon_start(struct daemon *d, const struct queue_starter *starter,
                 void (*dispatch)(struct call *call, const char *method), struct failure *f);
void daemon_done(struct daemon *d);
