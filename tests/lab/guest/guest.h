/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the parts of the lab's guest have in common. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BLOCK_BYTES 4096

struct block {
        uint64_t number;
        uint32_t length;
        uint32_t crc;
        uint8_t payload[BLOCK_BYTES - 16];
};

/* A line on the console, which begins with "GUEST ". */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
void pause_ns(long ns);
void load_module(const char *name);

void fill_crc_table(void);
/* Returns the CRC-32 of what @crc was computed of, followed by these bytes; @crc is 0 for the first. */
uint32_t crc32(uint32_t crc, const void *data, size_t size);
/* init.c says what is in one. */
void fill_block(struct block *block, uint64_t number);

/* Sends all of it; on a seqpacket socket as one message. */
int send_all(int fd, const void *data, size_t size);
/* Returns what was received, or 0 at the end, or negative errno. */
ssize_t receive(int fd, void *data, size_t size);

/* Services: each talks on one connection until its peer is through, and returns 0, or negative errno if the
 * connection broke. */
int serve_blocks(int fd, uint64_t *ret_bytes);
int serve_act(int fd, uint64_t *ret_bytes);
/* Gives the first NIC @address ("10.0.0.2/24…"), and has its driver use @queues pairs of queues; 0: as many
 * as it likes. Says on the console what does not work. */
bool set_up_nic(const char *address, int queues);
/* Threads of channels.c. */
void *run_serial_port(void *argument);
void *run_virtio_port(void *argument);
/* Ends the guest when its power button is pressed. */
void heed_power_button(void);
