/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether a file that a command line names as guest memory is the one that a QEMU runs on. It is not if the
 * name is a directory's, in which QEMU made a file of its own, or if the file has been removed or replaced
 * since: another QEMU with the same command line would find empty memory there, and nothing would notice.
 */

#include "common/process.h"

/* @path as the process finds it: in its root, or in its working directory. */
bool memfile_is_mapped(const struct process *p, const char *path);
