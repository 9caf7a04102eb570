/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Hands off several VMs, some of them at the same time: a line for each as it ends, and a summary. */

#include "cli/client.h"

/* The VMs named, all running ones, or the outdated ones. Returns the worst of their exit statuses. */
int batch_handoff(const struct options *o);

/* Says which of @vms (an array of Vm) already run the QEMU they would get; on a terminal, asks whether to
 * continue. */
bool batch_confirm(const struct options *o, json_object *vms);
