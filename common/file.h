/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files: read whole, written whole, removed whole. */

#include "proto/base.h"

#include <sys/types.h>

/* PATH of a file below @directory; the caller's to free. Aborts when memory runs out. */
char *file_path(const char *directory, const char *format, ...) _printf_(2, 3);

/* Reads a whole file (files of /proc have no size) of at most @limit bytes. *ret_data is NUL-terminated
 * beyond *ret_size (may be NULL) and is the caller's to free. EFBIG: there is more. @dirfd as in openat(2).
 */
int file_read(int dirfd, const char *path, size_t limit, char **ret_data, size_t *ret_size);

/* Writes a whole file so that a reader, or a crash, finds the old one or the new one. @mode as in open(2). */
int file_write(const char *path, const char *text, mode_t mode);

#define FILE_IDENTITY_MAX 64

/* Which file @path is, "MAJOR:MINOR:INODE" of its file system and inode. Nothing is fetched that the kernel
 * does not have, so that a file system in user space cannot hold us up if @path is a link of /proc/PID.
 * @dirfd as in openat(2). */
int file_identity(int dirfd, const char *path, char text[static FILE_IDENTITY_MAX]);

#define FILE_TREE_DEPTH   16   /* directories below each other */
#define FILE_TREE_ENTRIES 4096 /* files and directories in all */

/*
 * Removes @name of the directory @dirfd with everything below it. Parts of the tree may belong to somebody
 * who changes it meanwhile: no symbolic link is followed, no mount is entered (a FUSE file system in there
 * could block us for good), and what has more than FILE_TREE_DEPTH or FILE_TREE_ENTRIES is left (E2BIG).
 * ENOENT: there is none.
 */
int file_remove_tree(int dirfd, const char *name);
