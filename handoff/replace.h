/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * On a kernel that cannot reclaim a device, one whose owner is dead is lost, and its connections with it. The
 * guest is not, and must be able to make new connections: its source gets another device in place of the old
 * one, with the same CID.
 */

#include "handoff/handoff.h"

int replace_device(struct handoff *h, struct failure *f);
/* Resumes one that was interrupted: the source has its fresh device. */
int replace_resume(struct handoff *h, struct failure *f);
