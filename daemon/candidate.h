/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process to be registered as a VM's QEMU. Its files may hang, so a child looks at it (children.h). */

#include "proto/base.h"

/* @input: {"pid", "qmp"}. Returns {"startTime", "binary"}, or {"what", "remedy"?} if it cannot be
 * registered. */
json_object *candidate_work(json_object *input);
