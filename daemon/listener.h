/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A unix socket that others connect to, at a path that an earlier cprd may have left. */

#include "proto/base.h"

#include <sys/types.h>

/* Listens on @path, with this mode from the first moment on that it can be connected to. @type: SOCK_STREAM
 * or SOCK_SEQPACKET. @group (gid_t)-1: as it is. *ret_fd is non-blocking. */
int listener_open(const char *path, int type, mode_t mode, gid_t group, int *ret_fd);
