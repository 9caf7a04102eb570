/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the administrator decides: /etc/cprd/cprd.conf, one JSON object, every member optional (cprd.conf(5)).
 * It is read once, at start; cprd does not start with a mistake in it.
 */

#include "proto/base.h"

#define CONFIG_PATH "/etc/cprd/cprd.conf"

struct config {
        json_object
                *binaries; /* patterns (fnmatch(3), no wildcard matches a slash) of QEMUs to hand off to */
        json_object *deadlines; /* stage: µs; NULL: cprd-handoff's own */
        int64_t max_pause;      /* µs */
        int64_t handoffs;       /* that run at a time; others wait */
        int64_t history;        /* records that are kept */
};

/* The defaults, then what @path says; a file that does not exist says nothing. */
int config_load(struct config *c, const char *path, struct failure *f);
void config_done(struct config *c);

/* Whether the path of a destination binary matches the allow-list: absolute, and without "..". */
bool config_allows(const struct config *c, const char *binary);
