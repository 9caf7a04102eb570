/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The methods of io.cprd and of org.varlink.service: which exist, and who may call them. */

#include "daemon/server.h"

/* The server's dispatch; the call's context is the struct daemon. */
void api_call(struct call *call, const char *method);
