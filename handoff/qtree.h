/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What HMP `info qtree` prints: every device on a bus, the machine's own included, with every property as it
 * is now. One query, where QMP would take a thousand, each of which QEMU reads byte by byte (11 µs a byte,
 * measured) while its guest runs. QEMU: qdev_print() in system/qdev-monitor.c.
 */

#include "proto/base.h"

/* A bound for what a QEMU may print. */
#define QTREE_DEVICES_MAX 4096

/*
 * Reads @text into an object of devices, the caller's:
 *     KEY: {"type", "id"?, "bus", "parent"?, "pciId"?, "properties": {NAME: text, …}}
 * KEY is the device's id; of one without: its bus, its type and its PCI address or its number among its kind
 * there. The `bus` of a device is the bus's name as the device above it sees it ("pcie.0", "n0/virtio-bus");
 * its `parent` is the KEY of that device.
 * EBADMSG: that is no qtree.
 */
int qtree_parse(const char *text, json_object **ret);
