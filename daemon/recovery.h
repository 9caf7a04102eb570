/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an earlier cprd left: jobs that were in flight, and fds in systemd's fd store. */

#include "daemon/runner.h"

/* Reads RUNTIME/handoffs. What holds no order was never begun, and is removed. */
int recovery_load(struct queue *q, struct failure *f);
/* Gives an fd from the fd store, taken over, back to its job, or removes it. */
void recovery_take_fd(struct queue *q, const char *name, int fd);
/* Goes on with what was loaded, once cprd-handoffs can connect. */
void recovery_resume(struct queue *q);
