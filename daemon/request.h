/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a call asks for, checked against what there is. If it is not possible, the call has had its reply. */

#include "daemon/daemon.h"
#include "daemon/reply.h"

/* The VM that the parameter `name` names; NULL: there is none. */
struct vm *request_vm(struct call *call);
/* Whether a job of it is in flight. */
bool request_is_busy(struct call *call, const struct vm *vm);
/* Whether @binary is one of those that may be used. */
bool request_may_use(struct call *call, const char *binary);
/* What a job is to do; strings are the call's. */
bool request_read(struct call *call, const struct vm *vm, struct queue_request *ret);
