/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The proof that a destination, built and waiting for the state, is its source's twin: both are queried over
 * QMP, and each difference is a finding. What is compared, what is not, and why: docs/twin.md.
 */

#include "handoff/handoff.h"

/* The stage's function: compares, and prepares what makes the pause short; stages.c says what it is for. */
int match_twin(struct handoff *h, struct failure *f);
/* Compares. EXDEV: they differ, and the first difference is in @f; all of them are added to h->findings and
 * to the journal, as blockers. The guest notices nothing. */
int match_compare(struct handoff *h, struct failure *f);

/* ---- for match-….c ---- */

/* What both are asked first; match.c has the commands. */
enum match_question {
        MATCH_QTREE,
        MATCH_RAM_BLOCKS,
        MATCH_NETWORK,
        MATCH_MEMDEV,
        MATCH_DIMMS,
        MATCH_CPUS,
        MATCH_IOTHREADS,
        MATCH_BLOCK,
        MATCH_NODES,
        MATCH_JOBS,
        MATCH_EXPORTS,
        MATCH_CHARDEVS,
        MATCH_TPM,
        MATCH_AUDIO,
        MATCH_KVM,
        MATCH_FDSETS,
        MATCH_UUID,
        MATCH_OBJECTS,
        MATCH_GRAPH, /* from here on experimental ones, of which the destination is asked first */
        MATCH_VIRTIO,
        N_MATCH_QUESTIONS,
};

#define MATCH_FINDINGS_MAX 32 /* more would help nobody */

struct match {
        struct handoff *h;
        struct qmp_question source[N_MATCH_QUESTIONS], destination[N_MATCH_QUESTIONS];
        struct failure *f; /* gets the first difference */
        size_t n_differences;
};

/* A difference, in words; @remedy may not be NULL. */
void match_differs(struct match *m, const char *id, const char *remedy, const char *what, ...) _printf_(4, 5);
/* Both answers to @question, NULL unless they are of @type. True: both can be compared; if only one of the
 * QEMUs could answer, that is a difference. */
bool match_answers(struct match *m, enum match_question question, json_type type, json_object **ret_source,
                   json_object **ret_destination);
/* The same for a pair of questions of another batch; @what names in words what was asked for. */
bool match_pair(struct match *m, const char *id, const char *what, const struct qmp_question *source,
                const struct qmp_question *destination, json_type type, json_object **ret_source,
                json_object **ret_destination);

/* Each compares one thing. A negative errno: it could not be compared. */
int match_devices(struct match *m, struct failure *f);
int match_lists(struct match *m, struct failure *f);
int match_memory(struct match *m, struct failure *f);
int match_network(struct match *m, struct failure *f);
int match_block(struct match *m, struct failure *f);
int match_machine(struct match *m, struct failure *f);
int match_objects(struct match *m, struct failure *f);
/* Both have the same files in their fd sets: nobody has added or removed one since. */
int match_fdsets(struct match *m, struct failure *f);
int match_queues(struct match *m, struct failure *f);
/* What cannot be in a destination: jobs, exports and bitmaps of the source. */
void match_work(struct match *m);
