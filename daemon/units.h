/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * cprd-handoff@ID.service, started and killed over sd-bus through the manager's D-Bus interface,
 * org.freedesktop.systemd1(5). All calls return at once; their results are reported later.
 */

#include "proto/base.h"

#include <systemd/sd-event.h>

struct units;

struct units_events {
        /* The unit of job @id could not be started. */
        void (*failed)(void *userdata, const char *id, const char *why);
        /* The answer to units_look(): it is not running. */
        void (*absent)(void *userdata, const char *id);
};

/* Connects to the system bus. Without one this fails, but *ret is usable: each call tries again to
 * connect. */
int units_new(sd_event *event, const struct units_events *events, void *userdata, struct units **ret,
              struct failure *f);
struct units *units_free(struct units *u);

/* Starts the unit of job @id, replacing any instance that may still be there. */
int units_start(struct units *u, const char *id, struct failure *f);
/* Asks whether it is running. */
int units_look(struct units *u, const char *id);
/* Kills its main process and nothing else in its control group. */
int units_kill(struct units *u, const char *id);
