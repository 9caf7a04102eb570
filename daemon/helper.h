/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The connection of one cprd-handoff on the handoff socket (proto/handoff.h). */

#include "daemon/job.h"
#include "proto/handoff.h"

struct helper {
        struct helper *next, **at; /* in the list of its owner */
        int fd;
        sd_event_source *io;
        struct job *job; /* NULL until its HELLO */
        const struct helper_handlers *handlers;
        void *userdata;
};

struct helper_handlers {
        /* Takes over @fd. */
        void (*message)(struct helper *h, const struct handoff_message *m, int fd);
        /* It has hung up, or sent something malformed. The handler must free it. */
        void (*closed)(struct helper *h, const char *why);
};

/* Takes over @fd on success, and puts it at the head of @list. */
int helper_new(sd_event *event, int fd, struct helper **list, const struct helper_handlers *handlers,
               void *userdata, struct helper **ret);
/* Closes the connection; its job then has no cprd-handoff. NULL is allowed. */
void helper_free(struct helper *h);

void helper_bind(struct helper *h, struct job *j);
/* Sends the order: the journal, what is in custody, BEGIN. */
int helper_send_order(struct helper *h);
/* Tells it to roll back. */
void helper_abort(struct helper *h);
