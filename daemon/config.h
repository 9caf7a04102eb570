/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The administrator's settings: /etc/cprd/cprd.conf, one JSON object, every member optional (cprd.conf(5)).
 * Read once, at start; cprd does not start if there is a mistake in it.
 */

#include "proto/base.h"

#define CONFIG_PATH "/etc/cprd/cprd.conf"

struct config {
        json_object
                *binaries; /* patterns (fnmatch(3), no wildcard matches a slash) of QEMUs to hand off to */
        json_object *deadlines; /* stage: µs; NULL: cprd-handoff's own */
        int64_t max_pause;      /* µs */
        int64_t handoffs;       /* how many run at a time; others wait */
        int64_t history;        /* how many records are kept */
};

/* The defaults, overridden by what @path says; the file need not exist. */
int config_load(struct config *c, const char *path, struct failure *f);
void config_done(struct config *c);

/* Whether the path of a destination binary is on the allow-list: absolute, and without "..". */
bool config_allows(const struct config *c, const char *binary);
