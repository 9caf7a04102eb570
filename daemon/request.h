/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a call asks for, checked against what exists. If it cannot be done, the call has had its reply. */

#include "daemon/daemon.h"
#include "daemon/reply.h"

/* The VM named by the parameter `name`; NULL: there is none. */
struct vm *request_vm(struct call *call);
/* Whether one of its jobs is in flight. */
bool request_is_busy(struct call *call, const struct vm *vm);
/* Whether @binary may be used. */
bool request_may_use(struct call *call, const char *binary);
/* What a job is to do; the strings are the call's. */
bool request_read(struct call *call, const struct vm *vm, struct queue_request *ret);
