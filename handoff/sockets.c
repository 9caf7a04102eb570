/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/sockets.h"

#include <dirent.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int get_option(int fd, int option)
{
        int value = -1;
        socklen_t size = sizeof(value);

        return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

static void read_path(const struct sockaddr_un *address, socklen_t size, struct socket_fd *ret)
{
        size_t n = size > offsetof(struct sockaddr_un, sun_path)
                           ? size - offsetof(struct sockaddr_un, sun_path)
                           : 0;

        snprintf(ret->service, sizeof(ret->service), "%.*s", (int)n, address->sun_path);
}

/* Of a duplicate of the fd: nothing of it can be read but by having it. */
static bool read_socket(int fd, struct socket_fd *ret)
{
        struct sockaddr_storage address = {};
        socklen_t size = sizeof(address);
        struct stat st;

        if (get_option(fd, SO_TYPE) != SOCK_STREAM || fstat(fd, &st) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &size) < 0)
                return false;
        ret->inode = st.st_ino;
        ret->listens = get_option(fd, SO_ACCEPTCONN) == 1;
        ret->is_unix = address.ss_family == AF_UNIX;
        if (ret->is_unix)
                read_path((struct sockaddr_un *)&address, size, ret);
        else if (address.ss_family == AF_INET || address.ss_family == AF_INET6)
                return getnameinfo((struct sockaddr *)&address, size, ret->host, sizeof(ret->host),
                                   ret->service, sizeof(ret->service), NI_NUMERICHOST | NI_NUMERICSERV) == 0;
        return ret->is_unix;
}

static DIR *open_fds(const struct process *p)
{
        int fd = openat(p->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);

        if (!dir)
                close_fd(fd);
        return dir;
}

static bool is_socket(DIR *dir, const char *name)
{
        char link[64] = "";

        return readlinkat(dirfd(dir), name, link, sizeof(link) - 1) > 0 && strncmp(link, "socket:", 7) == 0;
}

int sockets_list(const struct process *p, struct socket_fd **ret)
{
        struct socket_fd *list = NULL;
        DIR *dir = open_fds(p);
        struct dirent *entry;
        int n = 0;

        if (!dir)
                return -errno;
        while ((entry = readdir(dir))) {
                struct socket_fd one = {.number = atoi(entry->d_name)};
                int fd = is_socket(dir, entry->d_name) ? process_get_fd(p, one.number) : -EBADF;

                if (fd >= 0 && read_socket(fd, &one)) {
                        list = mem_resize(list, (size_t)(n + 1) * sizeof(*list));
                        list[n++] = one;
                }
                close_fd(fd);
        }
        closedir(dir);
        *ret = list;
        return n;
}

int sockets_find(const struct process *p, ino_t inode)
{
        _cleanup_free_ char *wanted = text_print("socket:[%llu]", (unsigned long long)inode);
        DIR *dir = open_fds(p);
        struct dirent *entry;
        int found = -ENOENT;

        if (!dir)
                return -errno;
        while (found < 0 && (entry = readdir(dir))) {
                char link[64] = "";

                if (readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1) > 0 && STREQ(link, wanted))
                        found = atoi(entry->d_name);
        }
        closedir(dir);
        return found;
}
