/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The shield. QEMU's vhost-vsock tells the guest to drop its connections after any incoming migration, from
 * the post_load of its vmstate. While the shield is up that pointer, which vmstate_find_slot() has found in
 * the binary, is NULL in the destination. It is raised before the destination's first instruction and lowered
 * after its claim.
 */

#include "common/vmstate.h"
#include "handoff/inject.h"

struct shield {
        struct vmstate_slot slot;
        uint64_t base; /* load address of the binary */
        bool is_up;
};

/* Raises or lowers it in the stopped @t. EPROTO: the slot does not hold what it should. */
int shield_set(struct shield *s, struct tracee *t, bool up, struct failure *f);
