/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who is at the other end of a unix socket, as the kernel recorded it at connect time (unix(7)). */

#include "proto/base.h"

#include <sys/types.h>

#define CALLER_GROUP "cprd"

struct caller {
        uid_t uid;
        bool allowed;  /* root, or in the group cprd (primary or supplementary) */
        char text[96]; /* "uid=0 pid=123 cprctl": for the record */
};

/* The group's number; (gid_t)-1: there is no such group. May ask other programs (nsswitch.conf(5)), so only
 * once, at start. */
gid_t caller_group(void);

int caller_identify(int socket, gid_t group, struct caller *ret);
