/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which binaries may be started as a destination. The administrator's list gives the paths; whoever could
 * change such a file could act as the user that runs the VM. */

#include "proto/base.h"

#include <sys/stat.h>

/* Whether @path is absolute, has no ".." in it, and matches one of @patterns (an array of strings,
 * fnmatch(3): no wildcard matches a slash or a leading dot). */
bool allow_path(json_object *patterns, const char *path);

/* The reason not to run the file that @st describes: the end of a sentence ("is not owned by root"), with the
 * remedy in *ret_remedy, both static. NULL: there is none. */
const char *allow_file_defect(const struct stat *st, const char **ret_remedy);
