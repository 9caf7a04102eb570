/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The stress: processes hand one device around and around while others talk to its guest at random. */

#include "test.h"

#define STRESS_CID          800
#define STRESS_STREAM_PORT  7000 /* of the host, where the guest's connections go */
#define STRESS_MESSAGE_PORT 7001
#define STRESS_GUEST_PORT   10000 /* and the first port they come from */

/* In memory shared by all processes; counters are atomic. */
struct stress {
        bool stop; /* begin nothing new */
        bool failed;
        bool orphaned;  /* a machine died as the owner, the controller has not reclaimed yet */
        bool finished;  /* the guest is at rest, everything added up */
        uint64_t pause; /* µs that a client rests after each round */
        uint32_t hold;  /* usual maximum, in µs, that a machine keeps the device */
        int clients;    /* not finished yet */
        uint64_t handovers;
        uint64_t orphans;
        uint64_t connections; /* of the host, established */
        uint64_t bytes;       /* received and found correct, by host and guest */
        uint64_t timeouts;
        uint64_t signals;
        uint64_t refusals;
        uint64_t guest_ports; /* connections begun by the guest */
        uint64_t guest_done;  /* of these, received whole by the host */
};

#define COUNT(counter) __atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED)
#define LOOK(flag)     __atomic_load_n(&(flag), __ATOMIC_ACQUIRE)
#define SET(flag, v)   __atomic_store_n(&(flag), (v), __ATOMIC_RELEASE)

/* A small generator of its own for each process: the same seed gives each the same choices. */
struct dice {
        uint64_t state;
};

static inline uint32_t dice_roll(struct dice *dice, uint32_t below)
{
        dice->state = dice->state * 6364136223846793005ULL + 1442695040888963407ULL;
        return (uint32_t)((dice->state >> 33) % below);
}

/* How much the guest sends on the connection from @guest_port: bytes, for seqpacket messages. */
uint64_t stress_guest_amount(uint32_t guest_port, bool seqpacket);

/* Process bodies: 0, or 1 with the reason on stderr. */
int stress_client(struct stress *stress, unsigned index, uint64_t seed);
int stress_listener(struct stress *stress, bool seqpacket);
int stress_machine(struct stress *stress, int channel, int next, bool may_die, uint64_t seed);
