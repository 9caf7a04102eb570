/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

char *file_path(const char *directory, const char *format, ...)
{
        char *rest, *path;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&rest, format, ap);
        va_end(ap);
        if (n < 0 || asprintf(&path, "%s/%s", directory, rest) < 0)
                abort();
        free(rest);
        return path;
}

int file_read(int dirfd, const char *path, size_t limit, char **ret_data, size_t *ret_size)
{
        _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
        _cleanup_free_ char *data = NULL;
        size_t size = 0, room = 0;

        if (fd < 0)
                return -errno;
        for (;;) {
                ssize_t n;

                if (size + 1 >= room)
                        data = mem_resize(data, room = room ? room * 2 : 4096);
                n = read(fd, data + size, room - size - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                size += (size_t)n;
                if (size > limit)
                        return -EFBIG;
        }
        data[size] = '\0';
        *ret_data = TAKE_PTR(data);
        if (ret_size)
                *ret_size = size;
        return 0;
}

int file_identity(int dirfd, const char *path, char text[static FILE_IDENTITY_MAX])
{
        struct statx s;

        if (statx(dirfd, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &s) < 0)
                return -errno;
        snprintf(text, FILE_IDENTITY_MAX, "%u:%u:%llu", s.stx_dev_major, s.stx_dev_minor,
                 (unsigned long long)s.stx_ino);
        return 0;
}

static int write_all(int fd, const char *text, size_t size)
{
        for (size_t at = 0; at < size;) {
                ssize_t n = write(fd, text + at, size - at);

                if (n < 0 && errno != EINTR)
                        return -errno;
                at += n > 0 ? (size_t)n : 0;
        }
        return 0;
}

int file_write(const char *path, const char *text, mode_t mode)
{
        _cleanup_free_ char *temporary = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (asprintf(&temporary, "%s.new", path) < 0)
                return -ENOMEM;
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0)
                return -errno;
        r = write_all(fd, text, strlen(text));
        if (r >= 0 && (fsync(fd) < 0 || rename(temporary, path) < 0))
                r = -errno;
        return r;
}

/* ---- removing ---- */

struct removal {
        unsigned depth, entries;
};

static int remove_one(struct removal *r, int dirfd, const char *name);

/* The mount that @fd is on. Never asks a file system's server. */
static int mount_of(int fd, uint64_t *ret)
{
        struct statx st;

        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID, &st) < 0)
                return -errno;
        *ret = st.stx_mnt_id;
        return st.stx_mask & STATX_MNT_ID ? 0 : -ENOTSUP;
}

/* The directory @name itself, neither the target of a link of that name nor anything mounted there.
 * openat2(2) could do this in one call, but systemd denies it to a service with RestrictSUIDSGID=. */
static int open_directory(int dirfd, const char *name)
{
        _cleanup_close_ int place = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        uint64_t inside = 0, outside = 0;
        int fd, r;

        if (place < 0)
                return -errno;
        r = mount_of(place, &inside);
        if (r >= 0)
                r = mount_of(dirfd, &outside);
        if (r < 0)
                return r;
        if (inside != outside)
                return -EXDEV;
        fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int remove_content(struct removal *removal, int dirfd, const char *name)
{
        int fd = open_directory(dirfd, name), r = 0;
        struct dirent *entry;
        DIR *dir;

        if (fd < 0)
                return fd;
        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }
        while (r >= 0 && (entry = readdir(dir)))
                if (!STREQ(entry->d_name, ".") && !STREQ(entry->d_name, ".."))
                        r = remove_one(removal, fd, entry->d_name);
        closedir(dir);
        return r;
}

/* The type of an entry may change between two calls. The kernel then refuses to remove it as the wrong type,
 * and we look again. */
static int remove_one(struct removal *removal, int dirfd, const char *name)
{
        int r = -EAGAIN;

        if (++removal->entries > FILE_TREE_ENTRIES)
                return -E2BIG;
        if (removal->depth == FILE_TREE_DEPTH)
                return -E2BIG;
        removal->depth++;
        for (int try = 0; try < 3; try++) {
                if (unlinkat(dirfd, name, 0) == 0 || (errno == ENOENT && removal->depth > 1)) {
                        r = 0;
                        break;
                }
                r = -errno;
                if (r != -EISDIR && r != -EPERM)
                        break;
                r = remove_content(removal, dirfd, name);
                if (r >= 0)
                        r = unlinkat(dirfd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
                if (r != -ENOTDIR && r != -ELOOP && r != -ENOTEMPTY && r != -ENOENT)
                        break;
        }
        removal->depth--;
        return r;
}

int file_remove_tree(int dirfd, const char *name)
{
        return remove_one(&(struct removal){}, dirfd, name);
}
