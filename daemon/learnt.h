/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What was learnt about QEMU binaries: a cprd-handoff that had to start one to ask it says so in its journal,
 * and the next one that is to use the same file gets the answer with its order. So a binary is asked once
 * after each upgrade, and not once for each VM. The file is identified by device, inode, change time and
 * size; whoever uses the answer compares these with those of the file it has opened. Kept in memory and in
 * RUNTIME/learnt.json.
 */

#include "proto/base.h"

#define LEARNT_MAX 32 /* files; the one learnt longest ago goes */

struct learnt {
        char *path;
        json_object *list; /* array of what handoff/binary.c has written */
};

void learnt_init(struct learnt *l, const char *runtime);
void learnt_done(struct learnt *l);

/* @one: {"path", "dev", "ino", …}, borrowed. It replaces what is known of the same file. */
void learnt_add(struct learnt *l, json_object *one);

/* What is known of files with this path, or with this name if @path is not absolute. An array, the caller's
 * to put. */
json_object *learnt_find(const struct learnt *l, const char *path);
