/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a QEMU was told of its block nodes and does not tell again (aio, discard, locking, …): it keeps each
 * node's options as a QDict, and those are read from its memory, without stopping it, and without touching a
 * page that it has not touched itself. Nothing is taken for a QDict by guess: its count of members must be
 * right, and each key must lie in the one of 512 buckets that its hash demands. One that is being changed at
 * that moment does not pass, and is not found. QEMU: include/qobject/qdict.h and qobject/qdict.c, the same in
 * 10.0 to 11.1.
 */

#include "common/process.h"

#define QDICT_BUCKETS     512
#define QDICT_MEMBERS_MAX 64
#define QDICT_FOUND_MAX   8192
#define QDICT_LOOKS_MAX   65536         /* at what may be one */
#define QDICT_MAPPING_MAX (512UL << 20) /* a heap is smaller: the guest's memory is not looked through */
#define QDICT_MEMORY_MAX  (1UL << 30)   /* in all */

/* As in QEMU's memory on x86-64. */
struct qdict_object {
        uint32_t type, unused;
        uint64_t references;
};

enum qdict_type { QDICT_NUMBER = 2, QDICT_STRING = 3, QDICT_DICTIONARY = 4, QDICT_BOOL = 6 };

struct qdict {
        struct qdict_object base;
        uint64_t size;
        uint64_t table[QDICT_BUCKETS]; /* the first entry of each bucket */
};

struct qdict_entry {
        uint64_t key, value, next;
};

struct qdict_value {
        struct qdict_object base;
        union {
                uint64_t string;
                bool boolean;
                uint32_t kind; /* of a number: 0 is int64_t */
        };
        int64_t number;
};

/* The number of the bucket that @key belongs into. */
unsigned qdict_bucket(const char *key);
/* Every QDict that has a member "driver", as an array of objects; the caller's. A value that is neither text,
 * bool nor integer is null there. */
int qdict_read(const struct process *p, json_object **ret);
