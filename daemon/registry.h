/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The VMs, by name. */

#include "daemon/vm.h"

#define VMS_MAX 1024

struct registry {
        sd_event *event; /* borrowed */
        char *directory; /* RUNTIME/vms */
        struct vm *vms;  /* sorted */
};

/* Reads all entries that an earlier cprd left. Unreadable ones are logged and ignored. */
int registry_init(struct registry *reg, sd_event *event, const char *runtime, struct failure *f);
void registry_done(struct registry *reg);

struct vm *registry_find(const struct registry *reg, const char *name);

#define REGISTRY_NAME_TAKEN 1

/* Registers process @p (taken over on success). Returns 0; REGISTRY_NAME_TAKEN: a live VM has this name;
 * negative: @f says why not. */
int registry_add(struct registry *reg, const char *name, struct process *p, const char *qmp,
                 const char *binary, struct failure *f);
/* The caller has made sure that none of its jobs is in flight. */
void registry_remove(struct registry *reg, struct vm *vm);
