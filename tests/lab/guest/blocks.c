// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Writes a disk all the time, and reads it again, past its own page cache. The peer sends a letter, 'a' for
 * /dev/vda; block number n of init.c (plus the letter, in the highest byte of its number) goes to slot n
 * modulo 256. After each, one that was written before is read, and compared. Every 16 blocks, and in the end,
 * which comes when the peer has shut down its side and all slots have been read, the peer gets a report:
 *
 *   0   u64  blocks written
 *   8   u32  blocks that were not what had been written last, or could not be read or written
 *   12  u32  1: this is the last report
 */

#define _GNU_SOURCE

#include "guest.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS           256
#define BLOCKS_A_REPORT 16
#define BLOCK_PAUSE_NS  (5 * 1000 * 1000)
#define DISK_TRIES      50
#define DISK_PAUSE_NS   (100 * 1000 * 1000)
#define WRONG_TOLD      5

struct report {
        uint64_t written;
        uint32_t wrong;
        uint32_t is_last;
};

struct disk {
        char letter;
        int fd;
        uint64_t written;
        uint32_t wrong;
        struct block *block, *expected; /* aligned for O_DIRECT */
};

static uint64_t named(const struct disk *d, uint64_t number)
{
        return (uint64_t)(unsigned char)d->letter << 56 | number;
}

static void found_wrong(struct disk *d, const char *what, uint64_t number)
{
        if (d->wrong++ < WRONG_TOLD)
                say("blocks vd%c: block %llu of %llu lost: %s", d->letter, (unsigned long long)number,
                    (unsigned long long)d->written, what);
}

static void write_next(struct disk *d)
{
        uint64_t number = d->written++;

        fill_block(d->block, named(d, number));
        if (pwrite(d->fd, d->block, BLOCK_BYTES, (off_t)(number % SLOTS * BLOCK_BYTES)) != BLOCK_BYTES)
                found_wrong(d, strerror(errno), number);
}

/* The slot must have the last block that was written to it. */
static void check_slot(struct disk *d, uint64_t slot)
{
        uint64_t number = slot + (d->written - 1 - slot) / SLOTS * SLOTS;
        char what[64];

        if (pread(d->fd, d->block, BLOCK_BYTES, (off_t)(slot * BLOCK_BYTES)) != BLOCK_BYTES)
                return found_wrong(d, strerror(errno), number);
        fill_block(d->expected, named(d, number));
        if (memcmp(d->block, d->expected, BLOCK_BYTES) == 0)
                return;
        snprintf(what, sizeof(what), "number %llx is there", (unsigned long long)le64toh(d->block->number));
        found_wrong(d, what, number);
}

static uint64_t slots_written(const struct disk *d)
{
        return d->written < SLOTS ? d->written : SLOTS;
}

static int send_report(int fd, const struct disk *d, bool is_last, uint64_t *ret_bytes)
{
        struct report report = {htole64(d->written), htole32(d->wrong), htole32(is_last)};
        int r = send_all(fd, &report, sizeof(report));

        *ret_bytes = d->written * BLOCK_BYTES;
        return r;
}

/* Returns 1 when the peer has shut down its side. */
static int is_over(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        char byte;
        ssize_t n;

        if (poll(&p, 1, 0) == 0)
                return 0;
        n = receive(fd, &byte, 1);
        return n < 0 ? (int)n : n == 0;
}

static int write_blocks(int fd, struct disk *d, uint64_t *ret_bytes)
{
        uint64_t random = 1;
        int r = 0;

        while (r == 0) {
                write_next(d);
                random = random * 6364136223846793005ULL + 1442695040888963407ULL;
                check_slot(d, (random >> 33) % slots_written(d));
                if (d->written % BLOCKS_A_REPORT == 0)
                        r = send_report(fd, d, false, ret_bytes);
                if (r == 0)
                        r = is_over(fd);
                pause_ns(BLOCK_PAUSE_NS);
        }
        if (r < 0)
                return r;
        if (fdatasync(d->fd) < 0)
                found_wrong(d, strerror(errno), d->written);
        for (uint64_t slot = 0; slot < slots_written(d); slot++)
                check_slot(d, slot);
        return send_report(fd, d, true, ret_bytes);
}

static int open_disk(struct disk *d)
{
        char path[] = "/dev/vd?";

        path[sizeof(path) - 2] = d->letter;
        load_module("virtio_blk");
        for (int i = 0; i < DISK_TRIES; i++) {
                d->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
                if (d->fd >= 0)
                        return 0;
                pause_ns(DISK_PAUSE_NS);
        }
        return -errno;
}

int serve_blocks(int fd, uint64_t *ret_bytes)
{
        struct disk d = {.fd = -1};
        int r = -ENOMEM;

        if (receive(fd, &d.letter, 1) != 1 || d.letter < 'a' || d.letter > 'z')
                return -EBADMSG;
        if (posix_memalign((void **)&d.block, BLOCK_BYTES, BLOCK_BYTES) == 0 &&
            posix_memalign((void **)&d.expected, BLOCK_BYTES, BLOCK_BYTES) == 0)
                r = open_disk(&d);
        if (r == 0)
                r = write_blocks(fd, &d, ret_bytes);
        if (d.fd >= 0)
                close(d.fd);
        free(d.block);
        free(d.expected);
        return r;
}
