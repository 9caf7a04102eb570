/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SOCKET_BUFFER (4 << 20)

int fuzz_socket(int type, int *ret_peer)
{
        const int room = SOCKET_BUFFER;
        int pair[2];

        FUZZ_EXPECT(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
        *ret_peer = pair[1];
        return pair[0];
}

void fuzz_send(int fd, const void *data, size_t size)
{
        for (size_t at = 0; at < size;) {
                ssize_t n = send(fd, (const char *)data + at, size - at, MSG_NOSIGNAL);

                if (n <= 0)
                        return;
                at += (size_t)n;
        }
}

int fuzz_memory_file(const void *data, size_t size)
{
        int fd = memfd_create("input", MFD_CLOEXEC);

        FUZZ_EXPECT(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
        return fd;
}

static char directory[] = "/dev/shm/cprd-fuzz-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path);
}

static void remove_directory(void)
{
        nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_directory(void)
{
        static bool made;

        if (made)
                return directory;
        FUZZ_EXPECT(mkdtemp(directory));
        atexit(remove_directory);
        made = true;
        return directory;
}

void fuzz_file(const char *name, const void *data, size_t size)
{
        _cleanup_free_ char *path = text_print("%s/%s", fuzz_directory(), name);
        _cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

        FUZZ_EXPECT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
}

char *fuzz_text(const uint8_t *data, size_t size)
{
        char *text = mem_new(1, size + 1);

        memcpy(text, data, size);
        return text;
}

void fuzz_be_quiet(void)
{
        static bool quiet;
        int null;

        if (quiet)
                return;
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        FUZZ_EXPECT(null >= 0 && dup2(null, STDOUT_FILENO) >= 0);
        close(null);
        quiet = true;
}
