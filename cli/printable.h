/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What may be shown on a terminal. Replies contain text from QEMU, and a QEMU may be under its guest's
 * control: an escape sequence could rewrite what is on an operator's screen, or make the terminal type
 * commands. client.c passes everything it receives from the daemon through here before any other code sees
 * it.
 */

#include "proto/base.h"

/* Replaces with '?' each character that must not reach a terminal: control characters, those that change the
 * writing direction, and bytes that are not UTF-8. In place; returns @text. */
char *make_printable(char *text);

/* A copy of a reply with all names and strings made printable; the caller must put it. NULL for NULL. */
json_object *printable_copy(json_object *o);

/* The reply as one line of JSON, with those characters escaped, so that it still means the same; the caller
 * frees it. NULL: out of memory. */
char *printable_json(json_object *o);
