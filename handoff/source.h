/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The source: who it is, and how to talk to it. What it migrates is in migration.h. */

#include "handoff/handoff.h"

/* Connects to its QMP server, or reconnects if the connection has ended. */
int source_connect(struct handoff *h, struct failure *f);
/* The source's fd of a vhost-vsock device: @preferred if that is one, else any but @except; -1: there is
 * none. Returns how many there are. */
int source_find_device(const struct source *s, int preferred, int except, int *ret_fd);

/* The stages' functions; stages.c says what each is for. */
int source_identify(struct handoff *h, struct failure *f);
int source_forget(struct handoff *h, struct failure *f);
int source_retire(struct handoff *h, struct failure *f);
