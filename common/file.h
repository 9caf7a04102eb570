/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Files: read whole, written whole, removed whole. */

#include "proto/base.h"

#include <sys/types.h>

/* The path of a file below @directory; the caller's to free. Aborts when memory runs out. */
char *file_path(const char *directory, const char *format, ...) _printf_(2, 3);

/* Reads a whole file of at most @limit bytes (files in /proc report no size). *ret_data is NUL-terminated
 * after *ret_size bytes (which may be NULL) and is the caller's to free. EFBIG: it is longer. @dirfd as in
 * openat(2). */
int file_read(int dirfd, const char *path, size_t limit, char **ret_data, size_t *ret_size);

/* Replaces a whole file: a reader sees either the old or the new one, even after a crash. @mode as in
 * open(2). */
int file_write(const char *path, const char *text, mode_t mode);

#define FILE_IDENTITY_MAX 64

/* Which file @path is: "MAJOR:MINOR:INODE", its file system and inode. Uses only what the kernel has cached,
 * so that a file system in user space cannot hold us up if @path is a link in /proc/PID. @dirfd as in
 * openat(2). */
int file_identity(int dirfd, const char *path, char text[static FILE_IDENTITY_MAX]);

#define FILE_TREE_DEPTH   16   /* levels of directories */
#define FILE_TREE_ENTRIES 4096 /* files and directories in total */

/*
 * Removes @name from the directory @dirfd, with everything below it. Parts of the tree may belong to somebody
 * who changes it meanwhile: no symbolic link is followed, no mount is entered (a FUSE file system there could
 * block us for good), and anything beyond FILE_TREE_DEPTH or FILE_TREE_ENTRIES is left (E2BIG). ENOENT: there
 * is none.
 */
int file_remove_tree(int dirfd, const char *name);
