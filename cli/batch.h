/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Handoffs of several VMs at once, some at a time, with a line for each that has ended and a sum. */

#include "cli/client.h"

/* Of the VMs named, of all that run, or of those that are outdated. Returns the worst of their exit statuses.
 */
int batch_handoff(const struct options *o);

/* Says which of the VMs (an array of Vm) run already what they would be given; on a terminal asks whether to
 * go on. */
bool batch_confirm(const struct options *o, json_object *vms);
