/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/recovery.h"

#include "handoff/resources.h"

void recovery_begin(struct handoff *h)
{
        json_object *before = h->facts.connections_before;

        h->recovering = true;
        h->source.is_dead = h->source.process.pidfd < 0;
        h->destination.is_dead = h->destination.process.pidfd < 0;
        resources_recover(h);
        if (json_object_is_type(before, json_type_array))
                h->before = (struct connections){json_object_get(before), json_object_array_length(before)};
}
