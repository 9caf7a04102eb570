/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What this host can do. The only way to find out about the kernel is to try: a scratch device is claimed and
 * released. A binary is inspected by cprd-inspect. All of it happens in a child (children.h).
 */

#include "daemon/children.h"

/* The reply of the method Probe. @input: {"patterns": […]}, the allow-list, and {"binaries": […]}; without
 * that, those on the allow-list that exist. */
json_object *probe_work(json_object *input);
