/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/memfile.h"

#include <fcntl.h>
#include <sys/stat.h>

/* One line of /proc/PID/maps: "from-to perm offset dev inode path". The file is identified by its link in
 * map_files, since the device shown here is not stat(2)'s on every file system. */
static bool line_is_file(const struct process *p, const char *line, const struct stat *file)
{
        unsigned long from, to, inode;
        char link[64];
        struct stat st;

        if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) != 3 || inode != file->st_ino)
                return false;
        snprintf(link, sizeof(link), "map_files/%lx-%lx", from, to);
        return fstatat(p->proc_fd, link, &st, 0) == 0 && st.st_ino == file->st_ino &&
               st.st_dev == file->st_dev;
}

bool memfile_is_mapped(const struct process *p, const char *path)
{
        _cleanup_free_ char *maps = NULL, *inside = text_print("%s/%s", *path == '/' ? "root" : "cwd", path);
        struct stat file;

        if (fstatat(p->proc_fd, inside, &file, 0) < 0 || process_read(p, "maps", 4U << 20, &maps, NULL) < 0)
                return false;
        for (const char *line = maps; line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (line_is_file(p, line, &file))
                        return true;
        }
        return false;
}
