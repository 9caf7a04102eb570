// SPDX-License-Identifier: LGPL-2.1-or-later
#define _GNU_SOURCE

#include "guest.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* One write per line: lines of several threads must not mix. */
void say(const char *format, ...)
{
        char text[200], line[256];
        va_list ap;
        int n;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        n = snprintf(line, sizeof(line), "GUEST %s\n", text);
        if (write(STDOUT_FILENO, line, n) < 0)
                return; /* There is nobody left to tell. */
}

void pause_ns(long ns)
{
        struct timespec duration = {.tv_nsec = ns};

        nanosleep(&duration, NULL);
}

static uint32_t crc_table[256];

void fill_crc_table(void)
{
        for (uint32_t i = 0; i < 256; i++) {
                uint32_t c = i;

                for (int bit = 0; bit < 8; bit++)
                        c = c & 1 ? 0xedb88320U ^ (c >> 1) : c >> 1;
                crc_table[i] = c;
        }
}

uint32_t crc32(uint32_t crc, const void *data, size_t size)
{
        const uint8_t *p = data;

        crc = ~crc;
        while (size--)
                crc = crc_table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
        return ~crc;
}

int send_all(int fd, const void *data, size_t size)
{
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t n = send(fd, p, size, MSG_NOSIGNAL | MSG_EOR);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                size -= n;
        }
        return 0;
}

ssize_t receive(int fd, void *data, size_t size)
{
        ssize_t n;

        do
                n = recv(fd, data, size, 0);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

void fill_block(struct block *block, uint64_t number)
{
        uint64_t x = (number + 1) * 0x9e3779b97f4a7c15ULL;

        for (size_t i = 0; i < sizeof(block->payload); i += sizeof(x)) {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                memcpy(block->payload + i, &x, sizeof(x));
        }
        block->number = htole64(number);
        block->length = htole32(sizeof(block->payload));
        block->crc = htole32(
                crc32(crc32(0, block, offsetof(struct block, crc)), block->payload, sizeof(block->payload)));
}

void load_module(const char *name)
{
        char path[64];
        int fd;

        snprintf(path, sizeof(path), "/modules/%s.ko", name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
                say("cannot load %s: %s", path, strerror(errno));
        if (fd >= 0)
                close(fd);
}
