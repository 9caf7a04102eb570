/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The one way to log: a line for people, with VM= and HANDOFF= fields for programs (journalctl VM=web1).
 * Without a journal (unit tests, a terminal) the line goes to stderr.
 */

#include "proto/base.h"

#include <syslog.h>

/* Sets the fields of all later lines of this process that name no VM of their own; NULL: none. Copies. */
void log_set_context(const char *vm, const char *handoff);

/* @vm and @handoff may be NULL: the context's are used. @priority as in syslog(3). */
void log_full(int priority, const char *vm, const char *handoff, const char *format, ...) _printf_(4, 5);

#define log_debug(...)   log_full(LOG_DEBUG, NULL, NULL, __VA_ARGS__)
#define log_info(...)    log_full(LOG_INFO, NULL, NULL, __VA_ARGS__)
#define log_notice(...)  log_full(LOG_NOTICE, NULL, NULL, __VA_ARGS__)
#define log_warning(...) log_full(LOG_WARNING, NULL, NULL, __VA_ARGS__)
#define log_error(...)   log_full(LOG_ERR, NULL, NULL, __VA_ARGS__)

/* Logs a failure and its remedy, after the given beginning of the line. */
void log_failure(int priority, const struct failure *f, const char *format, ...) _printf_(3, 4);
