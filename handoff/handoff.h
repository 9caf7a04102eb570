/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One handoff, as cprd-handoff has it in its hands. Every stage of stages.c gets this and nothing else; what
 * one stage learns for a later one, or for the undo, is a member here, and a fact in the journal if a
 * recovery needs it.
 */

#include "common/connections.h"
#include "common/finding.h"
#include "common/journal.h"
#include "common/process.h"
#include "common/vmstate.h"
#include "handoff/cmdline.h"
#include "handoff/inject.h"
#include "handoff/qmp.h"

#include <sys/stat.h>

#define HANDOFF_DIRECTORY "/run/cprd/handoffs"
#define DEVICE_PATH       "/dev/vhost-vsock"

/* What was asked for (the journal's first line). */
struct order {
        json_object *json; /* owned; the strings below are its */
        const char *id, *name, *caller;
        pid_t pid;
        uint64_t start_time;
        const char *binary; /* NULL: the path that the source was started from */
        const char *qmp;
        const char *strategy; /* NULL: found by looking */
        uint64_t max_pause;   /* µs */
        uint64_t begun;       /* now_usec() of the request */
        bool only_check;
};

struct source {
        struct process process;
        struct qmp *qmp;
        struct tracee tracee;
        struct cmdline cmdline;
        char *exe;     /* owned: path of the running binary, without " (deleted)" */
        char *version; /* owned: query-version */
        char *machine; /* owned: the versioned machine type */
        uid_t uid;     /* its real ones: what it may do to files */
        gid_t gid;
        int device_fd; /* the source's number of the device; -1: none found */
        uint32_t cid;
        bool is_dead; /* it has exited */
};

/* An ioctl on the device that the destination made while it was built, and the kernel has not seen yet. */
struct withheld {
        uint32_t request;
        uint32_t payload_size;
        uint8_t payload[64];
};

#define WITHHELD_MAX 64

struct destination {
        struct process process;
        struct qmp *qmp;
        struct tracee tracee;
        char *binary;     /* owned: path in the source's mount namespace */
        struct stat file; /* of it, when it was checked: it must be this one that is executed */
        struct vmstate_slot slot;
        struct cmdline cmdline;
        struct cmdline_facts facts;
        char *version, *machine;          /* owned */
        char *directory;                  /* owned: of the channels; the source's to enter */
        int log;                          /* owned: its stderr until it has claimed the device */
        uint64_t base;                    /* load address of the binary */
        uint64_t heap_address, heap_size; /* what heap_lock() locked; 0: nothing */
        int oom_score_adj;                /* of the source, for when it has committed */
        bool has_listeners;               /* their files are there, or may be */
        bool shield_up;
        bool awaited;                             /* nothing else is waited for: the source may be held */
        bool owns;                                /* the kernel said so after its claim */
        bool withholding;                         /* ioctls on the device are withheld and recorded */
        bool skipping;                            /* …and this moment between an entry and an exit stop */
        bool cpr_bound, in_listen, cpr_listening; /* its CPR channel has come so far */
        bool is_dead;
        struct withheld withheld[WITHHELD_MAX];
        size_t n_withheld;
};

/* The destination's numbers of the fds it inherits. */
enum { FD_DEVICE = 10, FD_STDERR = 11, FD_LISTENERS = 12 };

struct owner; /* owner.h */

struct handoff {
        struct order order;
        struct journal *journal;
        int cprd;            /* owned: the handoff socket; -EBADF while cprd is away */
        uint64_t cprd_retry; /* when to try it again */
        struct findings findings;
        struct source source;
        struct destination destination;
        int device; /* owned: custody, as cprd's */
        const struct owner *owner;
        bool kernel_reclaims;
        struct connections before, after;

        bool hurried;    /* the guest is paused, or will be in a moment */
        bool aborted;    /* a Cancel has come */
        bool undoing;    /* on the way back: only the source matters now */
        bool loaded;     /* the destination has the whole state: the source is not needed any more */
        bool committed;  /* only forward */
        bool replaced;   /* the source has, or is about to get, another device in the place of a lost one */
        bool retiring;   /* only the source's end is waited for */
        bool recovering; /* this process is not the one that began it */

        uint64_t deadline;               /* of the current step, now_usec() */
        uint64_t pause_began;            /* now_usec() when the source's STOP was seen; 0: not yet */
        uint64_t source_events;          /* of the source, before `migrate` */
        uint64_t stop_usec, resume_usec; /* QEMU's own time stamps of STOP and RESUME */
        const char *failed_stage;
        struct failure failure;
};

struct handoff *handoff_free(struct handoff *h);
static inline void handoff_freep(struct handoff **h)
{
        *h = handoff_free(*h);
}

/* Before everybody else while a guest waits for us (SCHED_RR, if we may), and as everybody else afterwards.
 */
void handoff_hurry(struct handoff *h, bool hurry);

/* A fact for the journal, synced: {"fact": {key: value}}. Takes the reference. */
int handoff_fact(struct handoff *h, const char *key, json_object *value, struct failure *f);

/* wait.c: the one loop. Handles whatever happens (a stop of the destination, QMP traffic, a word from cprd, a
 * death) until @ready says so. Fails with ETIMEDOUT at h->deadline, ECANCELED when asked to cancel, ETIME
 * when the pause budget is used up, ESRCH when a process that is still needed has exited, or what a QMP
 * connection that is still needed failed with. While h->undoing only the deadline and the source count. */
int wait_until(struct handoff *h, int (*ready)(struct handoff *h, void *userdata), void *userdata,
               struct failure *f);
/* Looks once, without waiting; the same errors. */
int wait_look(struct handoff *h, struct failure *f);

/* A QMP command and its reply. Takes @arguments over; @ret_result (may be NULL) is the caller's. */
int wait_qmp(struct handoff *h, struct qmp *q, const char *command, json_object *arguments,
             json_object **ret_result, struct failure *f);
/* The same with an fd for `getfd`. */
int wait_qmp_fd(struct handoff *h, struct qmp *q, const char *command, json_object *arguments, int pass_fd,
                json_object **ret_result, struct failure *f);
/* The reply to what was sent before; @command is its name in a failure. */
int wait_reply(struct handoff *h, struct qmp *q, const char *command, json_object **ret_result,
               struct failure *f);
/* The answers to two batches (qmp.h), asked at the same time; either may be of none. That QEMU answers one of them
 * with an error is no failure. */
int wait_answers(struct handoff *h, struct qmp_question *to_source, size_t n_to_source,
                 struct qmp_question *to_destination, size_t n_to_destination, struct failure *f);
/* The greeting, and the end of capabilities negotiation. */
int wait_greeting(struct handoff *h, struct qmp *q, struct failure *f);
/* An event named @name (that came after event number @after, 0: any). Its time stamp is in *ret_usec if asked
 * for. */
int wait_event(struct handoff *h, struct qmp *q, const char *name, uint64_t after, uint64_t *ret_usec,
               struct failure *f);

/* cprd's end (link.c). */
int link_connect(struct handoff *h, struct failure *f);
void link_tell(struct handoff *h, int op, int role, uint64_t value, int pass_fd);
void link_read(struct handoff *h);
/* Says goodbye. A cprd that is just coming back would else wait for us; one that stays away reads the
 * journal. */
void link_finish(struct handoff *h);
