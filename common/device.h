/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether an open file is the vhost-vsock device and not something else of that name.
 *
 * It matters before the file is held: the owner of a VM can mount a file system of his own (FUSE) over the
 * path in his mount namespace, and close(2) of a file there waits for his server, for good and deaf to
 * SIGKILL. So the question must not wait for that server either; how is said in device.c.
 */

#include "proto/base.h"

#define DEVICE_VHOST_VSOCK "/dev/vhost-vsock"

/* Whether @path below @dirfd (as in openat(2); links are followed, also those of /proc/PID/fd) is the
 * character device that @node names on this host. Nothing is opened. Returns 0, or ENODEV: it is another
 * file. */
int device_check_path(int dirfd, const char *path, const char *node, struct failure *f);

/* The same for an open file. An O_PATH descriptor is not one. */
int device_check(int fd, const char *node, struct failure *f);
