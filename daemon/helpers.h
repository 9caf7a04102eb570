/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's end of the handoff socket, RUNTIME/handoff: cprd-handoffs connect here, name their job, get
 * their order, and report. */

#include "daemon/runner.h"

struct helpers {
        struct queue *queue; /* borrowed */
        int fd;
        sd_event_source *io;
        struct helper *list;
};

int helpers_listen(struct helpers *hs, struct queue *queue, const char *runtime, struct failure *f);
/* Also allowed if it is all zeros. */
void helpers_done(struct helpers *hs);

/* Takes over one end of a SOCK_SEQPACKET connection, as if it had been accepted. */
int helpers_adopt(struct helpers *hs, int fd);
