/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/memfile.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define MAPS_MAX (4U << 20)

static const char own_fd[] = "/proc/self/fd/", made[] = "qemu_back_mem.", removed[] = " (deleted)";

/* One line of /proc/PID/maps: "from-to perm offset dev inode path". */
struct line {
        unsigned long from, to, offset, inode;
        char link[64]; /* to the file behind it: the device that the line shows is not stat(2)'s on every file
                          system */
};

static bool parse(const char *text, struct line *ret)
{
        if (sscanf(text, "%lx-%lx %*s %lx %*s %lu", &ret->from, &ret->to, &ret->offset, &ret->inode) != 4)
                return false;
        snprintf(ret->link, sizeof(ret->link), "map_files/%lx-%lx", ret->from, ret->to);
        return true;
}

static const char *next_line(const char *text)
{
        const char *end = strchr(text, '\n');

        return end ? end + 1 : text + strlen(text);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
        return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static bool maps(const struct process *p, const struct stat *file)
{
        _cleanup_free_ char *text = NULL;
        struct line line;
        struct stat st;

        if (process_read(p, "maps", MAPS_MAX, &text, NULL) < 0)
                return false;
        for (const char *at = text; *at; at = next_line(at))
                if (parse(at, &line) && line.inode == file->st_ino &&
                    fstatat(p->proc_fd, line.link, &st, 0) == 0 && same_file(&st, file))
                        return true;
        return false;
}

static bool find_path(const struct process *p, const char *path, struct stat *ret)
{
        _cleanup_free_ char *inside = text_print("%s/%s", *path == '/' ? "root" : "cwd", path);

        return fstatat(p->proc_fd, inside, ret, 0) == 0;
}

bool memfile_is_mapped(const struct process *p, const char *path)
{
        struct stat file;

        /* "self" would be us. */
        return strncmp(path, own_fd, strlen(own_fd)) != 0 && find_path(p, path, &file) && maps(p, &file);
}

/* ---- the fd of one without a name ---- */

struct search {
        const char *path, *id;
        bool is_directory;
        dev_t device; /* of the directory */
};

/* Whether the file at the end of @link was made for that backend: QEMU names it
 * "qemu_back_mem.REGION.XXXXXX", where REGION is the backend's id, or its path in older machine types. */
static bool is_made_for(const char *name, const char *id)
{
        const char *prefixes[] = {"", "_objects_"};

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++) {
                _cleanup_free_ char *begin = text_print("%s%s%s.", made, prefixes[i], id);

                if (strncmp(name, begin, strlen(begin)) == 0 && !strchr(name + strlen(begin), '.'))
                        return true;
        }
        return false;
}

static bool is_wanted(const struct search *s, const char *link, const struct stat *st)
{
        const char *name = strrchr(link, '/'), *last = strrchr(s->path, '/');
        size_t n = strlen(link), tail = strlen(removed);

        if (!name || n < tail || !STREQ(link + n - tail, removed) || !S_ISREG(st->st_mode))
                return false;
        if (s->is_directory)
                return st->st_dev == s->device && is_made_for(name + 1, s->id);
        last = last ? last + 1 : s->path;
        return strlen(last) == strlen(name + 1) - tail && strncmp(name + 1, last, strlen(last)) == 0;
}

/* Whether the fd @number is a file of guest memory that was searched for. */
static bool look_at(const struct process *p, const struct search *s, const char *number, struct stat *ret)
{
        _cleanup_free_ char *path = text_print("fd/%s", number);
        char link[PATH_MAX] = "";

        return readlinkat(p->proc_fd, path, link, sizeof(link) - 1) > 0 &&
               fstatat(p->proc_fd, path, ret, 0) == 0 && is_wanted(s, link, ret) && maps(p, ret);
}

static int search_all(const struct process *p, const struct search *s)
{
        int directory = openat(p->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = -ENOENT;
        DIR *dir = directory < 0 ? NULL : fdopendir(directory);
        struct stat first, st;
        struct dirent *entry;

        if (!dir) {
                close_fd(directory);
                return -EACCES;
        }
        while (found != -ENOTUNIQ && (entry = readdir(dir))) {
                if (!look_at(p, s, entry->d_name, &st))
                        continue;
                if (found < 0) {
                        first = st;
                        found = atoi(entry->d_name);
                } else if (!same_file(&first, &st)) {
                        found = -ENOTUNIQ;
                }
        }
        closedir(dir);
        return found;
}

int memfile_find(const struct process *p, const char *path, const char *id)
{
        struct search s = {.path = path, .id = id};
        struct stat st;

        if (strncmp(path, own_fd, strlen(own_fd)) == 0) {
                _cleanup_free_ char *inside = text_print("fd/%s", path + strlen(own_fd));

                return fstatat(p->proc_fd, inside, &st, 0) == 0 && maps(p, &st) ? atoi(path + strlen(own_fd))
                                                                                : -ENOENT;
        }
        s.is_directory = find_path(p, path, &st) && S_ISDIR(st.st_mode);
        s.device = st.st_dev;
        return search_all(p, &s);
}

void memfile_at(const struct process *p, const char *text, uint64_t address,
                char place[static MEMFILE_PLACE_MAX])
{
        char identity[FILE_IDENTITY_MAX];
        struct line line;

        place[0] = '\0';
        for (const char *at = text; *at; at = next_line(at)) {
                if (!parse(at, &line) || address < line.from || address >= line.to)
                        continue;
                if (line.inode && file_identity(p->proc_fd, line.link, identity) >= 0)
                        snprintf(place, MEMFILE_PLACE_MAX, "%s+%#lx", identity,
                                 line.offset + (unsigned long)address - line.from);
                return;
        }
}
