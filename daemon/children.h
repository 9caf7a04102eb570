/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Work that may take long or hang (files served by somebody else's process, foreign programs, trying out a
 * device) is done by a child process, so that the event loop never waits for it. A few run at a time; the
 * others wait for their turn. One that cannot even be killed holds up its slot and nothing else.
 */

#include "proto/base.h"

#include <systemd/sd-event.h>

#define CHILDREN_MAX   4                   /* at a time */
#define CHILD_USEC     (30 * USEC_PER_SEC) /* from the request to the answer, waiting included */
#define CHILD_TEXT_MAX (256U << 10)        /* bytes in an answer */

struct children;
struct child;

/* What a child does, in the child, where only cprd's first three fds are open. @input is what child_run() was
 * given; the answer is the caller's. */
typedef json_object *(*child_work_t)(json_object *input);
/* Called once, unless child_cancel() came first: with the answer (borrowed), or with NULL and the reason. */
typedef void (*child_done_t)(json_object *answer, const struct failure *f, void *userdata);

struct children *children_new(sd_event *event);
struct children *children_free(struct children *cs);

/* Takes the reference of @input, which may be NULL. @done is never called before this has returned. */
struct child *child_run(struct children *cs, child_work_t work, json_object *input, child_done_t done,
                        void *userdata);
/* Nobody wants the answer any more. Not to be called from done(). */
void child_cancel(struct child *c);
