/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Starts the destination: from the fork to its first instruction, where it is traced and the shield is up. */

#include "handoff/handoff.h"

/* h->destination is then that process, stopped; it dies with us. */
int start_destination(struct handoff *h, struct failure *f);
