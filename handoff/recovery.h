/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Brings what is not in the journal in line with what it says, for a handoff that another process has begun.
 */
void recovery_begin(struct handoff *h);
