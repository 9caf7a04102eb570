/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether an open file is the vhost-vsock device, not something else under that name.
 *
 * This must be known before the file is held: a VM's owner can mount a file system of his own (FUSE) over the
 * path in his mount namespace, and close(2) of a file there waits for his server, possibly forever and deaf
 * to SIGKILL. So the check must not wait for that server either; device.c says how.
 */

#include "proto/base.h"

#define DEVICE_VHOST_VSOCK "/dev/vhost-vsock"

/* Whether @path below @dirfd (as in openat(2); links are followed, those of /proc/PID/fd too) is the
 * character device that @node names on this host. Opens nothing. Returns 0, or ENODEV: it is another file. */
int device_check_path(int dirfd, const char *path, const char *node, struct failure *f);

/* The same for an open file. An O_PATH descriptor does not count. */
int device_check(int fd, const char *node, struct failure *f);
