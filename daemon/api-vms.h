/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Methods about the registered VMs, and about the host. */

#include "daemon/server.h"

void api_list(struct call *call);
void api_describe(struct call *call);
void api_register(struct call *call);
void api_unregister(struct call *call);
void api_probe(struct call *call);
