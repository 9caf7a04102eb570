/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Replies shared by several methods. */

#include "daemon/server.h"

/* {key: value}; the caller's. */
json_object *reply_object(const char *key, const char *value);
/* An error with the `what` and `remedy` of a failure. */
void reply_failure(struct call *call, const char *error, const struct failure *f);
void reply_invalid(struct call *call, const char *parameter);
