/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Withholding: the destination builds its whole machine while the source still owns the device. Its ioctls on
 * the device that are not pure reads are skipped at their entry, answered with 0 and recorded with their
 * arguments. They are made for real, in order, after the source has released the device. A destination that
 * fails to load has never touched it.
 */

#include "handoff/inject.h"

#define WITHHELD_MAX 64

/* An ioctl that the destination is about to make on an fd that it has inherited. */
struct attempt {
        int fd;
        uint64_t request;
};

struct withhold {
        bool active;   /* the destination's system calls are traced, and those on the device withheld */
        bool skipping; /* at this moment: between the entry and the exit of a skipped call */
        size_t n;
        struct withheld {
                int fd;
                uint32_t request;
                uint32_t payload_size;
                uint8_t payload[64];
        } calls[WITHHELD_MAX];
};

/* Handles a system call stop of @t. @withheld: the call that it enters must not be made. E2BIG: more, or
 * larger, calls than a vhost-vsock device makes. */
int withhold_note(struct withhold *w, struct tracee *t, const struct tracee_call *call, bool withheld);
/* Makes the calls for real in the stopped @t. */
int withhold_replay(const struct withhold *w, struct tracee *t, uint64_t deadline, struct failure *f);
/* Whether @request is among them. */
bool withhold_has(const struct withhold *w, uint32_t request);
/* The payload of the withheld @request, as a number; 0: there was none. */
uint64_t withhold_value(const struct withhold *w, uint32_t request);
