/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/allow.h"

#include <fnmatch.h>

static bool has_dotdot(const char *path)
{
        for (const char *p = strstr(path, "/.."); p; p = strstr(p + 1, "/.."))
                if (p[3] == '/' || p[3] == '\0')
                        return true;
        return false;
}

bool allow_path(json_object *patterns, const char *path)
{
        if (path[0] != '/' || has_dotdot(path) || !json_object_is_type(patterns, json_type_array))
                return false;
        for (size_t i = 0; i < json_object_array_length(patterns); i++) {
                json_object *pattern = json_object_array_get_idx(patterns, i);

                if (json_object_is_type(pattern, json_type_string) &&
                    fnmatch(json_object_get_string(pattern), path, FNM_PATHNAME | FNM_PERIOD) == 0)
                        return true;
        }
        return false;
}

const char *allow_file_defect(const struct stat *st, const char **ret_remedy)
{
        *ret_remedy = "name the qemu-system binary of an installed QEMU";
        if (!S_ISREG(st->st_mode))
                return "is not a regular file";
        if (!(st->st_mode & 0111))
                return "is not executable";
        *ret_remedy = "install it from a package, or make it root's: chown root, chmod go-w";
        if (st->st_uid != 0)
                return "is not owned by root";
        if (st->st_mode & 022)
                return "is writable by users other than root";
        return NULL;
}
