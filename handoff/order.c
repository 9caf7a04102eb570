/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/order.h"

int order_read(struct order *o, json_object *line, struct failure *f)
{
        json_object *j = json_obj(line, "order");

        o->id = json_str(j, "id");
        o->name = json_str(j, "name");
        o->caller = json_str(j, "caller") ?: "unknown";
        o->pid = (pid_t)json_int(j, "pid", 0);
        o->start_time = (uint64_t)json_int(j, "startTime", 0);
        o->binary = json_str(j, "binary");
        o->qmp = json_str(j, "qmp");
        o->max_pause = (uint64_t)json_int(j, "maxPause", (int64_t)(2 * USEC_PER_SEC));
        o->begun = (uint64_t)json_int(j, "begun", (int64_t)now_usec());
        o->until = json_str(j, "until") ?: "retire";
        if (!name_is_valid(o->id) || !name_is_valid(o->name) || o->pid <= 0 || !o->qmp)
                return failure_set(f, EBADMSG, "the order is not complete");
        o->json = json_object_get(line);
        return 0;
}

void order_done(struct order *o)
{
        json_object_put(o->json);
        *o = (struct order){};
}
