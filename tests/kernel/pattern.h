/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The bytes that every test connection carries. Each byte is a function of the connection's seed and its
 * position, so a receiver that knows its position can tell a lost, doubled, reordered or foreign byte, and an
 * echo needs no buffer: it can recompute what it was sent. The lengths of seqpacket messages are a function
 * of their number.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
        PATTERN_TO_GUEST = 0,
        PATTERN_TO_HOST = 1,
        PATTERN_MESSAGE_MAX = 9000, /* more than two ring buffers: messages are split over packets */
};

static inline uint64_t pattern_mix(uint64_t x)
{
        x ^= x >> 31;
        x *= 0x9e3779b97f4a7c15ULL;
        x ^= x >> 29;
        return x * 0xbf58476d1ce4e5b9ULL;
}

/* @direction: PATTERN_TO_… */
static inline uint64_t pattern_seed(uint32_t host_port, uint32_t guest_port, int direction)
{
        return pattern_mix(((uint64_t)host_port << 33) ^ ((uint64_t)guest_port << 1) ^ (uint64_t)direction);
}

/* Bytes @position to the end of its 8-byte word, at most @size; *ret_word has the first of them lowest. */
static inline size_t pattern_word(uint64_t seed, uint64_t position, size_t size, uint64_t *ret_word)
{
        size_t skip = position & 7;

        *ret_word = pattern_mix(seed + (position >> 3)) >> (skip * 8);
        return size < 8 - skip ? size : 8 - skip;
}

static inline void pattern_fill(uint64_t seed, uint64_t position, void *data, size_t size)
{
        uint8_t *bytes = data;

        for (size_t i = 0, n; i < size; i += n) {
                uint64_t word;

                n = pattern_word(seed, position + i, size - i, &word);
                memcpy(bytes + i, &word, n);
        }
}

/* Returns how many of the @size bytes are right, counted from the first one, in steps of up to 8. */
static inline size_t pattern_check(uint64_t seed, uint64_t position, const void *data, size_t size)
{
        const uint8_t *bytes = data;

        for (size_t i = 0, n; i < size; i += n) {
                uint64_t word;

                n = pattern_word(seed, position + i, size - i, &word);
                if (memcmp(bytes + i, &word, n) != 0)
                        return i;
        }
        return size;
}

/* Length in bytes of seqpacket message number @index, 1 to PATTERN_MESSAGE_MAX. */
static inline size_t pattern_message_size(uint64_t seed, uint64_t index)
{
        return 1 + pattern_mix(seed ^ (index * 0x2545f4914f6cdd1dULL)) % PATTERN_MESSAGE_MAX;
}
