/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What was learnt about QEMU binaries: a cprd-handoff that had to start one to query it records the answer in
 * its journal, and the next one that uses the same file gets the answer with its order. So a binary is
 * queried once per upgrade, not once per VM. The file is identified by device, inode, change time and size;
 * whoever uses the answer compares these with those of the file it has opened. Kept in memory and in
 * RUNTIME/learnt.json.
 */

#include "proto/base.h"

#define LEARNT_MAX 32 /* files; the one learnt longest ago is dropped */

struct learnt {
        char *path;
        json_object *list; /* array of what handoff/binary.c wrote */
};

void learnt_init(struct learnt *l, const char *runtime);
void learnt_done(struct learnt *l);

/* @one: {"path", "dev", "ino", …}, borrowed. Replaces what is known about the same file. */
void learnt_add(struct learnt *l, json_object *one);

/* What is known about files at this path, or of this name if @path is not absolute. An array, the caller's to
 * put. */
json_object *learnt_find(const struct learnt *l, const char *path);
