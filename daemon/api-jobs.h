/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Methods about handoffs: new, in flight and past. */

#include "daemon/server.h"

void api_check(struct call *call);
void api_handoff(struct call *call);
void api_cancel(struct call *call);
void api_history(struct call *call);
