/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Why a destination died. Its stderr is a memory file until the source retires, so that its last words get
 * into the record; then the source's stderr takes the file's place.
 */

#include "handoff/inject.h"

struct obituary {
        int log; /* owned: the memory file; -EBADF: none yet, or this is a recovery */
};

/* Makes the memory file. */
int obituary_open(struct obituary *o, struct failure *f);
void obituary_close(struct obituary *o);

/* Fills @f with how the dead destination @t ended and with its first complaint. Returns -ESRCH. */
int obituary_write(const struct obituary *o, struct tracee *t, struct failure *f);
/* A destination that refuses the state knows why, and says so when it exits, in a moment: fills @f if that
 * comes within @msec, or else leaves it alone. */
void obituary_await(const struct obituary *o, struct tracee *t, int msec, struct failure *f);
