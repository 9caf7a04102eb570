/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The table of resources: one row for each kind of thing on the host that a QEMU holds and that has to change
 * hands, with what each stage does about it. Whoever wants to know what becomes of a kind reads its row.
 * stages.c says when; this says what. For operators it is docs/connections.md.
 */

#include "handoff/handoff.h"
#include "handoff/inherit.h"

/* NULL: nothing to be done. All of them are called for every handoff, whether the VM has such a thing or
 * not. */
struct resource {
        const char *kind;
        /* A recovery: what it needs to know is taken from the journal's facts. */
        void (*recover)(struct handoff *h);
        /* launch: makes what the destination is to get, … */
        int (*make)(struct handoff *h, struct failure *f);
        /* … names the fds that it inherits, … */
        int (*inherit)(struct handoff *h, struct inheritance *in, struct failure *f);
        /* … and, in the child just before exec, does what must be the destination's own doing. */
        void (*in_child)(const struct cmdline_facts *facts);
        /* It is launched, or not: ours are closed. */
        void (*launched)(struct handoff *h);
        /* build: whether an ioctl must not reach the kernel. It is answered with 0, and recorded. */
        bool (*withholds)(const struct handoff *h, const struct attempt *attempt);
        /* match: both answer QMP, the guest runs. */
        int (*match)(struct handoff *h, struct failure *f);
        /* load: the last thing before the source is told to stop its guest. */
        int (*part)(struct handoff *h, struct failure *f);
        /* Undoes match and part: the source carries on. */
        void (*rejoin)(struct handoff *h);
        /* claim: the state is loaded, both guests are stopped; the destination still works, … */
        int (*loaded)(struct handoff *h, struct failure *f);
        /* … and now it is stopped, by ptrace. */
        int (*claim)(struct handoff *h, struct failure *f);
        /* commit: the guest runs, and the source does not. Again in retire, for a recovery: may have been
         * done. */
        int (*move)(struct handoff *h, struct failure *f);
        /* retire: the source is dead. */
        int (*retire)(struct handoff *h, struct failure *f);
        /* The destination is dead: what was made for it is removed. */
        void (*forget)(struct handoff *h);
};

void resources_recover(struct handoff *h);
int resources_make(struct handoff *h, struct failure *f);
int resources_inherit(struct handoff *h, struct inheritance *in, struct failure *f);
void resources_in_child(void *cmdline_facts);
void resources_launched(struct handoff *h);
bool resources_withhold(const struct handoff *h, const struct attempt *attempt);
int resources_match(struct handoff *h, struct failure *f);
int resources_part(struct handoff *h, struct failure *f);
void resources_rejoin(struct handoff *h);
int resources_loaded(struct handoff *h, struct failure *f);
int resources_claim(struct handoff *h, struct failure *f);
/* These two do all of them, even if one fails; they return the first failure. */
int resources_move(struct handoff *h, struct failure *f);
int resources_retire(struct handoff *h, struct failure *f);
void resources_forget(struct handoff *h);
