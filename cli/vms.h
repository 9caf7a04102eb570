/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The VMs that cprd knows, and whether each still runs the QEMU that is at its path now. */

#include "cli/client.h"

enum outdated {
        OUTDATED_UNKNOWN, /* nobody has looked yet; a check would */
        OUTDATED_NO,
        OUTDATED_YES, /* the file at its path is not the one that runs, as after an upgrade */
};

/* The reply of List; with o->outdated, only the outdated ones. Returns an exit status as client_call()
 * does. */
int vms_get(const struct options *o, json_object **ret);

/* Of a Vm of io.cprd.varlink. If cprd does not know, this looks at the process itself, which only root can
 * do. */
enum outdated vm_outdated(json_object *vm);

/* Whether a handoff of the VM to the binary @qemu (NULL: to the one at its own path) would give it the QEMU
 * that it runs already. */
bool vm_runs_already(json_object *vm, const char *qemu);
