/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What this host can do. The kernel says so only by doing: a scratch device is claimed and released. A binary
 * is looked at by cprd-inspect. All of it in a child (children.h).
 */

#include "daemon/children.h"

/* The reply of the method Probe. @input: {"patterns": […]}, the allow-list, and {"binaries": […]}, or none of
 * it for those of the allow-list that exist. */
json_object *probe_work(json_object *input);
