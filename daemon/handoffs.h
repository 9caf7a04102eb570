/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The handoffs in flight, and those that wait for their turn. A check is a handoff that ends before it has
 * touched anything. The work is done by a cprd-handoff (helpers.h), which writes what it does into the
 * handoff's journal; here the journal is read as it grows, whoever asked is told, and the end is put on
 * record. A cprd-handoff that dies is replaced by another one that recovers from the journal; when several
 * have died the handoff ends as needs_operator. After a restart of cprd the same goes for what it finds.
 */

#include "common/journal.h"
#include "daemon/custody.h"
#include "daemon/daemon.h"

struct handoff;

/* Somebody who wants to know. Unlinked before ended() is called, which is called exactly once unless
 * observer_remove() came first. Both json_objects are borrowed. */
struct observer {
        struct observer *next;
        struct handoff *handoff; /* NULL: not observing */
        void (*progress)(struct observer *o, json_object *progress);
        void (*ended)(struct observer *o, json_object *record);
};

enum handoff_state {
        HANDOFF_WAITING,  /* for its turn */
        HANDOFF_ORPHANED, /* found at start: its cprd-handoff may still be there, and come back */
        HANDOFF_STARTING, /* a cprd-handoff was started and has not said HELLO */
        HANDOFF_RUNNING,
        HANDOFF_RETRYING, /* its cprd-handoff died; another one is started in a moment */
};

struct handoff {
        struct handoff *next;
        struct daemon *daemon;
        char id[16];
        char name[64];
        bool check;
        enum handoff_state state;
        json_object *order;
        struct journal *journal; /* read only */
        json_object *findings;   /* array */
        json_object *stages;     /* array of StageTime, of those that have ended */
        json_object *facts;      /* the journal's, all in one object */
        json_object *record;     /* NULL: not ended yet */
        int64_t connections;     /* when it began; -1: not known */
        char stage[32];          /* the latest one the journal names */
        bool committed, cancelled;
        size_t n_lines; /* read of its journal */
        unsigned tries; /* cprd-handoffs started for it */
        struct custody custody;
        struct helper *helper; /* connected, borrowed; NULL: none */
        sd_event_source *timer;
        struct observer *observers;
};

/* What is asked for. Strings and arrays are borrowed. */
struct handoff_request {
        const char *caller;
        const char *binary;   /* NULL: where the source was started from */
        const char *strategy; /* NULL: found by looking */
        json_object *faults;  /* NULL: none */
        int64_t max_pause;    /* µs */
        bool check;           /* only the checks */
};

struct vm;

/* Begins a handoff of @vm, which has none in flight, or lets it wait for its turn. */
int handoff_new(struct vm *vm, const struct handoff_request *request, struct handoff **ret,
                struct failure *f);
struct handoff *handoff_find(struct daemon *d, const char *id);

void handoff_observe(struct handoff *h, struct observer *o);
void observer_remove(struct observer *o);

/* About of io.cprd.varlink, as far as the journal tells by now; the caller's to put. */
json_object *handoff_about(struct handoff *h);

/* Asks for a roll back. -EALREADY: it is past its commit. */
int handoff_cancel(struct handoff *h);

/* For helpers.c: the journal has grown; the cprd-handoff is through, or is lost. The handoff may be freed. */
void handoff_read(struct handoff *h);
void handoff_helper_done(struct handoff *h);
void handoff_helper_lost(struct handoff *h, const char *why);
/* There is no cprd-handoff that could come back. */
void handoff_helper_absent(struct handoff *h);
/* (Re)arms the one timer: how long to wait in this state. */
void handoff_set_timer(struct handoff *h, uint64_t usec);
/* The journal, opened for a cprd-handoff. */
int handoff_open_journal(struct handoff *h, bool writable);

/* What an earlier cprd left under handoffs/. */
int handoffs_load(struct daemon *d, struct failure *f);
/* Gives an fd from the fd store back to its handoff, or removes it. */
void handoffs_take_fd(struct daemon *d, const char *name, int fd);
/* Goes on with what was loaded, once helpers are listening. */
void handoffs_resume(struct daemon *d);
/* cprd stops: everything stays where the next one finds it. */
void handoffs_free_all(struct daemon *d);
