/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The VMs that cprd knows, and for each whether it runs the QEMU that its path leads to now. */

#include "cli/client.h"

enum outdated {
        OUTDATED_UNKNOWN, /* nobody has looked: a check does */
        OUTDATED_NO,
        OUTDATED_YES, /* its path leads to another file than the one that runs, as after an upgrade */
};

/* The reply of List; with o->outdated only those that are outdated. Returns an exit status as client_call()
 * does. */
int vms_get(const struct options *o, json_object **ret);

/* Of a Vm of io.cprd.varlink. Where cprd does not know, it looks by itself, which only root can. */
enum outdated vm_outdated(json_object *vm);

/* Whether a handoff of the VM to the binary @qemu (NULL: to the one at its own path) would give it the QEMU
 * that it runs already. */
bool vm_runs_already(json_object *vm, const char *qemu);
