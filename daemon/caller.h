/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who is at the other end of a unix socket, as the kernel has noted it at connect time (unix(7)). */

#include "proto/base.h"

#include <sys/types.h>

struct caller {
        uid_t uid;
        bool allowed;  /* root, or in the group cprd by its primary or a supplementary group */
        char text[96]; /* "uid=0 pid=123 cprctl": for the record */
};

#define CALLER_GROUP "cprd"

int caller_identify(int socket, struct caller *ret);
