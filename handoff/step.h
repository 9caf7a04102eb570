/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a step depends on, and what its failure means: columns of the stage table, which wait.c obeys. An undo
 * depends on nothing but its deadline. */

#include <stdint.h>

enum {
        NEEDS_SOURCE = 1 << 0,      /* fails when the source exits */
        NEEDS_DESTINATION = 1 << 1, /* fails when the destination exits */
        CANCELLABLE = 1 << 2,       /* fails when the handoff is cancelled */
        COUNTS_PAUSE = 1 << 3,      /* the guest waits: hurried, and fails when the pause budget is used up */
        TOUCHES_NOTHING = 1 << 4,   /* its failure is a refusal: nothing was touched by then */
        ENDS_CHECKS = 1 << 5,       /* the findings are complete after it */
        COMMITS = 1 << 6,           /* the point of no return lies in it */
};

/* The one under way. */
struct step {
        unsigned flags;
        uint64_t deadline; /* now_usec() */
};
