/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whose a source is, so that nobody else's rights are given to its destination.
 *
 * The user of a source can make it execute a set-user-ID program at any moment: it is still the process that
 * was registered, with the command line that was checked, but has root's rights. So what was seen when it
 * became the source must still be so when its twin gets its rights.
 */

#include "common/process.h"

/* The lines of its /proc/PID/status that say what it may do; the caller's. EPERM: it has the rights of
 * another user than the one who started it. */
int credentials_read(const struct process *p, char **ret, struct failure *f);
/* Whether @status, a text of /proc/PID/status, still says what credentials_read() did. EPERM: no, or @before
 * is NULL. */
int credentials_require(const char *status, const char *before, struct failure *f);
