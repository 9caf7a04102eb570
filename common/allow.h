/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which binaries may be started as a destination: the administrator's list says which paths, and whoever
 * could change the file could become whoever runs the VM. */

#include "proto/base.h"

#include <sys/stat.h>

/* Whether @path is absolute, has no ".." in it, and matches one of @patterns (an array of strings,
 * fnmatch(3): no wildcard matches a slash or a leading dot). */
bool allow_path(json_object *patterns, const char *path);

/* What is against running the file @st describes: a sentence's end ("is not owned by root") with what to do
 * in *ret_remedy, both static; NULL: nothing. */
const char *allow_file_defect(const struct stat *st, const char **ret_remedy);
