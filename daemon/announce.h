/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The end of a handoff in the system's journal: one line for people, with a MESSAGE_ID (systemd/cprd.catalog)
 * and fields for programs. */

#include "proto/base.h"

void announce(json_object *record);
