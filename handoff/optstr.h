/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * QEMU's option strings: "first,key=value,flag", where ",," is a comma in a value, the first element may
 * stand without its key, and a key alone means key=on ("nokey": key=off). QEMU: util/qemu-option.c.
 */

#include "proto/base.h"

/* The first element if it has no key ("q35" in "q35,usb=off"); else the value of @implied. NULL: neither. The
 * caller's to free, as in all of these. */
char *optstr_first(const char *s, const char *implied);
/* The value of @key, unescaped; "on" or "off" for a flag. The last one wins, as in QEMU. */
char *optstr_get(const char *s, const char *key);
bool optstr_is_on(const char *s, const char *key);
/* @s without any setting of @key. */
char *optstr_without(const char *s, const char *key);
/* @s with @key set to @value, which is escaped here, and set nowhere else. */
char *optstr_with(const char *s, const char *key, const char *value);
/* @s with its first element (that has no key), or its @implied key, replaced by @value; put in front if it
 * has neither. */
char *optstr_with_first(const char *s, const char *implied, const char *value);
