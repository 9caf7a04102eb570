/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One command line being made from another (cmdline.h): what its rules see and do. A rule gets one option,
 * adds what the destination is to have instead, and a finding if that is not the same.
 */

#include "handoff/cmdline.h"

struct making {
        const struct cmdline_plan *plan;
        struct cmdline out;
        struct cmdline_facts *facts;
        struct findings *fs;
        const char *option;    /* as written, with one dash: "-device" */
        const char *value;     /* NULL: it takes none */
        bool machine_is_named; /* some -machine named the type */
        size_t n_made;         /* chardevs made here */
        size_t n_serial;       /* -serial so far, by which QEMU names their chardevs */
};

/* Adds an option; @value NULL: none. */
void making_add(struct making *m, const char *option, const char *value);
/* The option as it is. */
void making_keep(struct making *m);
/* A blocker: the result will not be used. */
void making_refuse(struct making *m, const char *why, const char *remedy);
void making_warn(struct making *m, const char *what, const char *remedy);

/* chardev.c: QEMU's character devices, and the options that imply one (-serial, -qmp, …). */
void take_chardev(struct making *m);
void take_short_chardev(struct making *m);

/* netdev.c and backend.c: what the machine has on the host's side. */
void take_netdev(struct making *m);
void take_display(struct making *m);
void take_vnc(struct making *m);
void take_drive(struct making *m);
void take_object(struct making *m);
void take_audiodev(struct making *m);
void take_tpm(struct making *m);
