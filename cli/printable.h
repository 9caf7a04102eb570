/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What may be shown on a terminal. A reply holds text that comes from QEMU, and a QEMU may have been taken
 * over by its guest: an escape sequence in it could rewrite what stands on an operator's screen, or make the
 * terminal type. client.c puts everything that arrives from the daemon through here before anybody else sees
 * it.
 */

#include "proto/base.h"

/* Replaces by '?' each character that is not to reach a terminal: control characters, those that change the
 * direction of writing, and what is no UTF-8. In place; returns @text. */
char *make_printable(char *text);

/* A copy of a reply, its names and strings made printable; the caller's to put. NULL for NULL. */
json_object *printable_copy(json_object *o);

/* The reply as one line of JSON that means the same and in which the same characters are escaped; the
 * caller's to free. NULL: no memory. */
char *printable_json(json_object *o);
