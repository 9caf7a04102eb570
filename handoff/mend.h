/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a source has and no command line can say: it is given to the destination once that has been built.
 * That it has it then is proven with everything else (match.h).
 */

#include "handoff/handoff.h"

/* The limits of each drive (block_set_io_throttle). A destination that refuses them is found by the
 * comparison. */
int mend_throttling(struct handoff *h, struct failure *f);
