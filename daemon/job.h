/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One handoff or check while it is in flight or waits for its turn. (A check is a handoff that ends before it
 * has touched anything.) A cprd-handoff does the work; how far it is, is read from the journal
 * (job-journal.h).
 */

#include "common/journal.h"
#include "daemon/custody.h"

#include <systemd/sd-event.h>

enum job_state {
        JOB_WAITING,  /* for its turn */
        JOB_ORPHANED, /* found at start; its cprd-handoff may still be running, and reconnect */
        JOB_STARTING, /* a cprd-handoff was started but has not said HELLO */
        JOB_RUNNING,
        JOB_RETRYING, /* its cprd-handoff died; another is about to be started */
};

struct job {
        struct job *next;
        struct queue *queue; /* the one it is in */
        char id[16];
        char name[64]; /* of the VM */
        bool check;
        enum job_state state;
        char *directory;         /* RUNTIME/handoffs/ID */
        json_object *order;      /* the journal's first line */
        struct journal *journal; /* read only */
        size_t n_lines;          /* read from it */
        json_object *findings;   /* array */
        json_object *stages;     /* array of StageTime: those that have ended */
        json_object *facts;      /* all of the journal's, merged (job-facts.h) */
        json_object *record;     /* NULL: not ended yet */
        int64_t connections;     /* when it began; -1: not known */
        char stage[32];          /* the last one named in the journal; "": none */
        bool committing;         /* can no longer be cancelled */
        bool cancelled;
        unsigned tries; /* how many cprd-handoffs were started */
        struct custody custody;
        struct helper *helper; /* connected, borrowed; NULL: none */
        sd_event_source *timer;
        struct observer *observers;
};

/* @directory: RUNTIME/handoffs. */
struct job *job_new(struct queue *queue, const char *directory, const char *id);
/* Leaves what is in custody in the fd store. Its cprd-handoff must be detached before. */
struct job *job_free(struct job *j);

/* Whether a cprd-handoff has begun work on it. */
bool job_has_begun(const struct job *j);

/* Somebody who wants to follow it. Both json_objects are borrowed. */
struct observer {
        struct observer *next;
        struct job *job;                                             /* NULL: not observing */
        void (*progress)(struct observer *o, json_object *progress); /* may be NULL */
        void (*ended)(struct observer *o, json_object *record);
};

void job_observe(struct job *j, struct observer *o);
/* Allowed for an observer that is not observing. */
void job_ignore(struct observer *o);
void job_notify_progress(struct job *j, json_object *progress);
/* Each observer is removed first, then told, and only once. */
void job_notify_end(struct job *j);

/* About of io.cprd.varlink, as far as the journal tells so far; the caller's to put. */
json_object *job_about(struct job *j);
