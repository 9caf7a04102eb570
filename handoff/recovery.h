/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* For a handoff that another process began: brings what is not in the journal in line with it. */
void recovery_begin(struct handoff *h);
