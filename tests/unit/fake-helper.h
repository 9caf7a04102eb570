/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* cprd-handoffs that are children of the test, speak the handoff socket's protocol, and do as they are
 * told. */

#include "daemon/queue.h"
#include "proto/handoff.h"

/* What the next cprd-handoffs do, in turn; the last one repeats. */
enum deed {
        FINISH,        /* updated, to fake_destination */
        REFUSE,        /* refused, with a finding */
        PASS,          /* checked: nothing found */
        DIE,           /* after HELLO */
        DIE_LATE,      /* after having put a device and a destination into custody */
        ROLL_BACK,     /* expects what DIE_LATE left, and recovers */
        WAIT_ABORT,    /* until somebody cancels */
        NEVER,         /* does not start */
        WAIT_WORD,     /* continues when told by fake_go_on() */
        STRANDED,      /* needs-operator, past its commit: the destination has the guest */
        WRONG_DEVICE,  /* sends the wrong device, then waits for a word */
        LEARN,         /* reports what it learnt about a binary, then waits for a word */
        STRANGE_RECORD /* whose id, name and outcome are invalid */
};

extern const struct queue_starter fake_starter;
extern size_t fake_started, fake_killed;
extern pid_t fake_source, fake_destination;

/* Two QEMUs, the first of them registered as web1, and what its cprd-handoffs will do. */
void fake_begin(enum deed first, enum deed second);
/* Waits until nothing is in flight any more, and that nothing is left of it. */
void fake_end(void);
/* Those that run belong to a cprd that is gone: ends them. */
void fake_forget(void);
/* The word for one that waits for it. */
void fake_go_on(void);

size_t fake_count_directories(void);

/* A cprd-handoff's own side of the connection. */
struct fake_helper {
        int socket;
        char id[64];
        struct journal *journal;
        bool has_source, has_destination, has_device;
        uint64_t cid;
};

void fake_hello(struct fake_helper *w, uint64_t again);
void fake_finish(struct fake_helper *w, const char *outcome, int destination);

/* The outcome of a Handoff that was asked for over @v; the caller's. */
struct varlink;
json_object *fake_receive_record(struct varlink *v);
