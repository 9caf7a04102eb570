/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where the shield goes. After any incoming migration, QEMU's vhost-vsock sends the guest a TRANSPORT_RESET
 * event from the post_load of its vmstate, and the guest drops its connections. In a handoff that is wrong:
 * the device and its connections persist. Without that one pointer, vmstate_virtio_vhost_vsock.post_load,
 * QEMU loads the state and sends nothing. This file finds the pointer in a QEMU binary without running it;
 * destination.c clears it while the state is loaded and puts it back.
 *
 * How (docs/architecture.md, "the shield"): the callback is in .dynsym, since QEMU exports its symbols to
 * modules. The vmstate is static and so has no symbol, but it holds the callback's address: exactly one
 * relocation (RELATIVE, in .data.rel.ro) has that as its addend. The struct's first member, `name`, is 32
 * bytes before it, and the relocation there points at the string "virtio-vhost_vsock". Anything else is not a
 * binary that we know.
 */

#include "proto/base.h"

struct vmstate_slot {
        uint64_t slot;     /* link-time address of vmstate_virtio_vhost_vsock.post_load */
        uint64_t callback; /* link-time address of vhost_vsock_common_post_load: what the slot holds,
                              unrelocated */
        uint64_t entry;    /* e_entry */
};

/* Reads the ELF file on @fd, which stays the caller's. ENOEXEC: not an ELF executable for this machine;
 * ENOTSUP: it does not have exactly one slot. */
int vmstate_find_slot(int fd, struct vmstate_slot *ret, struct failure *f);
