/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The registry: which VMs there are, and the QEMU process of each. An entry is one file under
 * /run/cprd/vms, written whenever it changes, so that a restart of cprd forgets nothing. A QEMU is watched
 * by its pidfd: when it exits outside of a handoff the VM is gone, and stays listed so until it is registered
 * again or unregistered.
 */

#include "common/process.h"
#include "daemon/daemon.h"

#define VMS_MAX 1024

struct vm {
        struct vm *next;
        struct daemon *daemon;
        char name[64];
        pid_t pid;
        struct process process; /* closed when gone */
        uint64_t start_time;
        char *qmp, *binary;
        char *strategy;           /* NULL: nobody has looked */
        char *last_handoff;       /* NULL: none */
        int64_t cid, connections; /* -1: nobody has looked */
        sd_event_source *exit_watch;
        struct handoff *handoff; /* in flight or waiting, borrowed; NULL: none */
};

struct vm *vm_find(struct daemon *d, const char *name);

/* EEXIST: a live VM has this name; else @f says why this is not a QEMU that can be registered. */
int vm_register(struct daemon *d, const char *name, pid_t pid, const char *qmp, struct failure *f);
/* The caller has made sure that no handoff of it is in flight. */
void vm_unregister(struct vm *vm);

/* ESTABLISHED AF_VSOCK connections of this host with a CID; -1: the kernel does not say. */
int64_t vm_count_connections(int64_t cid);

/* Looks how many connections there are now. */
void vm_look(struct vm *vm);

/* Vm of io.cprd.varlink; the caller's to put. */
json_object *vm_describe(const struct vm *vm);

/* What a check or a handoff has found out: members of the journal's facts or of a Record. Saves. */
void vm_learn(struct vm *vm, json_object *facts);
/* The QEMU under it is another one now. @pidfd stays the caller's; -EBADF: found by @pid. Saves. */
void vm_replace(struct vm *vm, pid_t pid, int pidfd, const char *binary);
void vm_set_last_handoff(struct vm *vm, const char *id);

/* Reads all entries an earlier cprd left. Those that cannot be read are logged and left out. */
int vm_load_all(struct daemon *d, struct failure *f);
void vm_free_all(struct daemon *d);
