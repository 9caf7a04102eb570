/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The daemon's side of the handoff socket (proto/handoff.h): cprd-handoffs connect here, say which handoff
 * they are, get their order, the journal and what is in custody, and report.
 */

#include "daemon/handoffs.h"

struct helpers;

/* Listens on RUNTIME/handoff. */
int helpers_listen(struct daemon *d, struct failure *f);
void helpers_free(struct daemon *d);
/* Takes over one end of a SOCK_SEQPACKET connection, as if it had been accepted. */
int helpers_adopt(struct daemon *d, int fd);

/* Closes the connection of a handoff's cprd-handoff, if it has one. */
void helper_detach(struct handoff *h);
/* How long a cprd-handoff may say and write nothing, in us: it reports when a stage begins and when it ends.
 */
uint64_t helper_silence(struct daemon *d);
/* Tells it to roll back. */
void helper_abort(struct handoff *h);
