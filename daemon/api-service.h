/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What every Varlink service offers: org.varlink.service. */

#include "daemon/server.h"

void api_get_info(struct call *call);
void api_get_interface_description(struct call *call);
/* Replies to a call of @method, which does not exist: no such interface, or no such method in it. */
void api_not_found(struct call *call, const char *method);
