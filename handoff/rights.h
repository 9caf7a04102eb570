/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Paths that come from the source's command line may have been made up by its user, and usually lead to that
 * user's directories. What is done to them is done with that user's file rights (setfsuid(2)). */

#include "handoff/handoff.h"

void rights_of_source(const struct handoff *h);
void rights_own(void);
