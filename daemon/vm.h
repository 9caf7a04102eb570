/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One registered VM, and the QEMU process that runs it. Its entry is a file in /run/cprd/vms, written at
 * every change, so that a restart of cprd forgets nothing. The process is watched by its pidfd: when it exits
 * outside of a handoff, the VM is gone, and stays listed as such until it is registered again or
 * unregistered.
 */

#include "common/process.h"

#include <systemd/sd-event.h>

struct vm {
        struct vm *next;
        sd_event *event; /* borrowed */
        char *path;      /* of its entry */
        char name[64];
        pid_t pid;
        uint64_t start_time;
        struct process process; /* closed when it is gone */
        char *qmp, *binary;
        char *version, *file; /* of the QEMU that runs: what it says, and its file_identity(); NULL: nobody
                                 has looked */
        char *last_handoff;   /* NULL: none */
        int64_t cid, connections; /* -1: nobody has looked yet */
        sd_event_source *exit_watch;
        char job[16]; /* id of the one in flight or waiting; "": none */
};

/* @directory: where its entry will be. The strings are copied. */
struct vm *vm_new(sd_event *event, const char *directory, const char *name, const char *qmp);
struct vm *vm_free(struct vm *vm);
static inline void vm_freep(struct vm **vm)
{
        *vm = vm_free(*vm);
}

/* Makes a VM from its entry file. If its process has exited meanwhile, the VM is gone. */
int vm_from_json(sd_event *event, const char *directory, json_object *o, struct vm **ret, struct failure *f);
void vm_save(const struct vm *vm);
/* Removes its file. */
void vm_erase(const struct vm *vm);

/* From now on @p is its process (taken over); PROCESS_NULL: its process is gone. */
int vm_set_process(struct vm *vm, struct process *p);
bool vm_is_gone(const struct vm *vm);

/* Counts its connections now. */
void vm_look(struct vm *vm);

/* Vm of io.cprd.varlink; the caller's to put. */
json_object *vm_describe(const struct vm *vm);

/* Takes in what a check or a handoff has found out: members of a Record. Saves. */
void vm_learn(struct vm *vm, json_object *record);
/* Another QEMU has the guest now: @p, taken over; PROCESS_NULL: it has already exited. @qemu is what is known
 * about it, a Qemu of io.cprd.varlink; it may be NULL. Saves. */
void vm_replace(struct vm *vm, struct process *p, json_object *qemu);
void vm_set_last_handoff(struct vm *vm, const char *id);
