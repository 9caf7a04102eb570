/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/shield.h"

int shield_set(struct shield *s, struct tracee *t, bool up, struct failure *f)
{
        uint64_t callback = s->base + s->slot.callback, expected = up ? callback : 0, found = 0;
        int r = tracee_peek(t, s->base + s->slot.slot, &found);

        if (r >= 0 && found != expected)
                return failure_set(f, EPROTO, "the shield slot of the destination holds %#lx, not %#lx",
                                   (long)found, (long)expected);
        if (r >= 0)
                r = tracee_poke(t, s->base + s->slot.slot, up ? 0 : callback);
        if (r < 0)
                return failure_set(f, r, "cannot write the shield slot of the destination: %s", strerror(-r));
        s->is_up = up;
        return 0;
}
