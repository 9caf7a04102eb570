/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A unix socket that others connect to. */

#include "proto/base.h"

#include <sys/types.h>

/* Listens on @path, replacing whatever is there. Mode and group ((gid_t)-1: the process's own) are set before
 * anybody can connect. @type: SOCK_STREAM or SOCK_SEQPACKET. *ret_fd is non-blocking. */
int listener_open(const char *path, int type, mode_t mode, gid_t group, int *ret_fd);
