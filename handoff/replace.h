/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A device whose dead owner cannot be removed from it is lost on a kernel that cannot reclaim it, and its
 * connections are lost with it. The guest is not, and shall have new connections: its source gets another
 * device in the place of the old one, with the same CID.
 */

#include "handoff/handoff.h"

int replace_device(struct handoff *h, struct failure *f);
/* Goes on with one that was interrupted: the source has its fresh device. */
int replace_resume(struct handoff *h, struct failure *f);
