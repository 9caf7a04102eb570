/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where the shield goes. QEMU's vhost-vsock sends the guest a TRANSPORT_RESET event from the post_load of its
 * vmstate, after any incoming migration, and the guest drops its connections. For a handoff that is wrong:
 * the device and its connections stay. Without that one pointer, vmstate_virtio_vhost_vsock.post_load, QEMU
 * loads the state and says nothing. This file finds the pointer in a QEMU binary without running it;
 * destination.c clears it while the state is loaded and puts it back.
 *
 * How (docs/architecture.md, "the shield"): the callback is in .dynsym, since QEMU exports its symbols for
 * modules. The vmstate is static, so it has none, but it holds the callback's address: exactly one relocation
 * (RELATIVE, in .data.rel.ro) has it as its addend. The member `name` is the first of the struct, 32 bytes
 * before, and the relocation there points at the string "virtio-vhost_vsock". Anything else is not a binary
 * that we know.
 */

#include "proto/base.h"

struct vmstate_slot {
        uint64_t slot;     /* link-time address of vmstate_virtio_vhost_vsock.post_load */
        uint64_t callback; /* link-time address of vhost_vsock_common_post_load: what the slot holds,
                              unrelocated */
        uint64_t entry;    /* e_entry */
};

/* Reads the ELF file on @fd, which stays the caller's. ENOEXEC: not an ELF executable of this machine;
 * ENOTSUP: it is, but there is not exactly one slot. */
int vmstate_find_slot(int fd, struct vmstate_slot *ret, struct failure *f);
