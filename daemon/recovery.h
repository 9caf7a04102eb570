/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What an earlier cprd left: jobs in flight, and fds in systemd's fd store. */

#include "daemon/runner.h"

/* Reads RUNTIME/handoffs. A handoff without an order was never begun, and is removed. */
int recovery_load(struct queue *q, struct failure *f);
/* Takes over an fd from the fd store, and gives it back to its job or removes it. */
void recovery_take_fd(struct queue *q, const char *name, int fd);
/* Resumes what was loaded, once cprd-handoffs can connect. */
void recovery_resume(struct queue *q);
