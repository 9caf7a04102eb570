/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Every QMP command that cprd sends to a source. A query can end a QEMU (`x-query-virtio-status` aborts an
 * 11.1.3 that has a vhost-vsock device), and a guest with it, so nothing else is sent:
 * tests/scenarios/questions.py sends each of them to every QEMU of the lab, with every kind of device.
 */

#include "proto/base.h"

/* For qmp_restrict(). */
bool command_is_allowed(const char *command, json_object *arguments);
