/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The methods of io.cprd and of org.varlink.service. */

#include "daemon/server.h"

/* Runs a call: it has had its last reply when this returns, or will have it later. */
void api_call(struct call *call, const char *method);
