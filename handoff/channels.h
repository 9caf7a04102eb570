/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The two migration channels, unix sockets in a directory of the handoff's. The destination binds both: QEMU
 * 10.0 takes no fd for them. The source connects to the main one by itself, and to the relay (relay.h)
 * instead of the CPR channel. How far the destination has come shows in its system calls on them.
 */

#include "handoff/inject.h"

struct channels {
        char *directory; /* owned: belongs to the VM's user, and nobody else may enter */
        bool cpr_bound, in_listen, cpr_listens; /* the first thing that the destination does */
        bool main_bound; /* …and one of the last: all of its devices have been made */
};

/* The paths of a handoff's channels; the caller's to free. */
char *channels_main_path(const struct channels *c);
char *channels_cpr_path(const struct channels *c);

/* @directory: the handoff's own, which root owns. */
void channels_init(struct channels *c, const char *directory);
void channels_done(struct channels *c);

/* Makes the directory and gives it to the VM's user. */
int channels_make(const struct channels *c, uid_t uid, gid_t gid, struct failure *f);
/* Removes it with the channels in it. */
void channels_remove(const struct channels *c);

/* Notes one of the destination's system calls, at its entry or exit. */
void channels_note(struct channels *c, struct tracee *t, const struct tracee_call *call);
