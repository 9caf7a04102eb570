/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The jobs in flight and those waiting for their turn: a limited number runs at a time (cprd.conf,
 * "handoffs"), in order of request.
 */

#include "daemon/config.h"
#include "daemon/history.h"
#include "daemon/job.h"
#include "daemon/learnt.h"
#include "daemon/registry.h"

/* How to start, kill and look for a cprd-handoff: as a systemd unit (units.h), or otherwise in tests.
 * Starting replaces whatever is left of an earlier one. All return at once. */
struct queue_starter {
        int (*start)(void *userdata, const char *id, struct failure *f);
        int (*kill)(void *userdata, const char *id);
        int (*look)(void *userdata, const char *id); /* may be NULL */
        void *userdata;
};

struct queue {
        sd_event *event; /* borrowed, like all of these */
        const struct config *config;
        struct registry *registry;
        struct history *history;
        struct learnt *learnt;
        struct queue_starter starter;
        uint64_t retry_usec; /* before a second cprd-handoff is started; four times that before a third… */
        const char *device_path; /* may be taken into custody; DEVICE_VHOST_VSOCK */
        char *directory;         /* owned: RUNTIME/handoffs */
        struct job *jobs;
        void (*begin)(struct job *j); /* its turn has come (runner.h) */
};

/* Fills in what is not borrowed. */
void queue_init(struct queue *q, const char *runtime);
/* Frees all jobs, leaving everything where the next cprd will find it. */
void queue_done(struct queue *q);

struct job *queue_find(const struct queue *q, const char *id);

/* What is requested. Strings and arrays are borrowed. */
struct queue_request {
        const char *caller;
        const char *binary;  /* NULL: the one the source was started from */
        json_object *faults; /* NULL: none */
        int64_t max_pause;   /* µs */
        bool check;          /* the checks only */
        bool rehearse;       /* as far as possible without stopping the guest */
};

/* Begins a job of @vm, which has none, or queues it. */
int queue_ask(struct queue *q, struct vm *vm, const struct queue_request *request, struct job **ret,
              struct failure *f);

/* Adds one that an earlier cprd left. */
void queue_add(struct queue *q, struct job *j);
/* Takes it out of the queue; it is then the caller's. */
void queue_remove(struct job *j);

/* Begins those whose turn has come. */
void queue_pump(struct queue *q);
