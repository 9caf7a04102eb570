/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What was requested: the journal's first line, written by cprd. */

#include "proto/base.h"

#include <sys/types.h>

struct order {
        json_object *json; /* owned; the strings below are its */
        const char *id, *name, *caller;
        pid_t pid;
        uint64_t start_time;
        const char *binary; /* NULL: the path that the source was started from */
        const char *qmp;
        uint64_t max_pause; /* µs */
        uint64_t begun;     /* now_usec() of the request */
        const char *until;  /* the stage after which it ends well, having changed nothing */
};

/* Reads the line. EBADMSG: it is not complete. */
int order_read(struct order *o, json_object *line, struct failure *f);
void order_done(struct order *o);
