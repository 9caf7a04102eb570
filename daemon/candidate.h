/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process that somebody wants to register as the QEMU of a VM. Its files may hang, so it is looked at in a
 * child (children.h). */

#include "proto/base.h"

/* @input: {"pid", "qmp"}. Returns {"startTime", "binary"}, or {"what", "remedy"?}: why it cannot be
 * registered. */
json_object *candidate_work(json_object *input);
