/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * QEMU's option strings: "first,key=value,flag", where ",," is a comma in a value, the first element may come
 * without its key, a key alone means key=on ("nokey": key=off), and a comma at the end means nothing. Options
 * that QEMU describes in its QAPI schema may be JSON instead; there "a.b" is the member b of the member a.
 * QEMU: util/qemu-option.c, util/keyval.c. All of these return strings that are the caller's to free.
 */

#include "proto/base.h"

bool optstr_is_json(const char *s);

/* The value of @implied, or else the first element if it has no key ("q35" in "q35,usb=off"). NULL: neither.
 */
char *optstr_first(const char *s, const char *implied);
/* The value of @key, unescaped; "on" or "off" for a flag. The last one wins, as in QEMU. NULL: it is not set,
 * or @s is broken JSON. */
char *optstr_get(const char *s, const char *key);
/* Whether it is set to what QEMU takes for true. */
bool optstr_is_on(const char *s, const char *key);
/* @s without any setting of @key. */
char *optstr_without(const char *s, const char *key);
/* @s with @key set to @value, which is escaped here, and set nowhere else. */
char *optstr_with(const char *s, const char *key, const char *value);
/* @s with its first element (that has no key), or its @implied key, replaced by @value; @value is put in
 * front if it has neither. Not for JSON. */
char *optstr_with_first(const char *s, const char *implied, const char *value);
