/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The files that a QEMU's guest memory is in. What a command line names need not be it: the name may be a
 * directory's, in which QEMU made a file of its own and removed its name, or the file has been removed or
 * replaced since. Another QEMU with the same command line would find empty memory there, and nothing would
 * notice. QEMU: file_ram_open() in system/physmem.c.
 */

#include "common/file.h"
#include "common/process.h"

/* Whether the process has mapped the file @path, as it finds it: in its root, or in its working directory. */
bool memfile_is_mapped(const struct process *p, const char *path);
/* The process's number of an fd of the file that it has mapped for its memory backend @id with
 * mem-path=@path: a file that was made in the directory @path, or was once named @path; or the fd that
 * "/proc/self/fd/N" names. ENOENT; ENOTUNIQ: there are several such files. */
int memfile_find(const struct process *p, const char *path, const char *id);

#define MEMFILE_PLACE_MAX (FILE_IDENTITY_MAX + 24)

/* Which file is mapped at @address, and where in it: "MAJOR:MINOR:INODE+OFFSET"; "" if none is. @maps: of
 * /proc/PID/maps. */
void memfile_at(const struct process *p, const char *maps, uint64_t address,
                char place[static MEMFILE_PLACE_MAX]);
