/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/job-facts.h"

void job_facts_merge(json_object *facts, json_object *fact)
{
        json_object_object_foreach (fact, key, value) {
                json_object *old = json_obj(facts, key);

                if (!old || !json_object_is_type(value, json_type_object)) {
                        json_add(facts, key, json_object_get(value));
                        continue;
                }
                json_object_object_foreach (value, member, v) {
                        json_add(old, member, json_object_get(v));
                }
        }
}

json_object *job_facts_qemu(json_object *facts, const char *which)
{
        return json_obj(facts, which);
}

static json_object *make_qemu(json_object *fact, int64_t pid, const char *binary)
{
        json_object *o = json_object_new_object();

        json_add_int(o, "pid", json_int(fact, "pid", pid));
        json_add_str(o, "binary", json_str(fact, "binary") ?: binary);
        json_add_str(o, "version", json_str(fact, "version"));
        json_add_str(o, "machine", json_str(fact, "machine"));
        return o;
}

json_object *job_facts_source(json_object *facts, json_object *order)
{
        return make_qemu(job_facts_qemu(facts, "source"), json_int(order, "pid", 0), "");
}

json_object *job_facts_destination(json_object *facts, json_object *order)
{
        const char *binary =
                json_str(order, "binary") ?: json_str(job_facts_qemu(facts, "source"), "binary") ?: "";

        return make_qemu(job_facts_qemu(facts, "destination"), 0, binary);
}

int64_t job_facts_cid(json_object *facts)
{
        return json_int(job_facts_qemu(facts, "source"), "cid", -1);
}

int64_t job_facts_pause(json_object *facts)
{
        return json_int(facts, "pause", -1);
}

bool job_facts_committed(json_object *facts)
{
        return json_flag(facts, "committed");
}

bool job_facts_destination_process(json_object *facts, int64_t *ret_pid, int64_t *ret_start_time)
{
        json_object *destination = job_facts_qemu(facts, "destination");

        *ret_pid = json_int(destination, "pid", 0);
        *ret_start_time = json_int(destination, "startTime", 0);
        return *ret_pid > 0 && *ret_start_time > 0;
}

json_object *job_facts_take_learnt(json_object *facts)
{
        json_object *learnt = json_obj(facts, "learnt");

        if (!learnt)
                return NULL;
        json_object_get(learnt);
        json_object_object_del(facts, "learnt");
        return learnt;
}
