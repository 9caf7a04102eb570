/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/job-record.h"

#include "daemon/job-facts.h"

void job_record_make(struct job *j, const char *outcome, const char *reason, const char *remedy)
{
        int64_t now = (int64_t)now_usec(), begun = json_int(j->order, "begun", now);
        json_object *o = json_object_new_object();

        json_add_str(o, "id", j->id);
        json_add_str(o, "name", j->name);
        json_add_str(o, "caller", json_str(j->order, "caller") ?: "unknown");
        json_add_str(o, "outcome", outcome);
        json_add(o, "source", job_facts_source(j->facts, j->order));
        json_add_int(o, "begun", begun);
        json_add_int(o, "elapsed", now - begun);
        json_add(o, "stages", json_object_get(j->stages));
        json_add_str(o, "stage", job_has_begun(j) ? j->stage : NULL);
        json_add_str(o, "reason", reason);
        json_add_str(o, "remedy", remedy);
        json_add(o, "findings", json_object_get(j->findings));
        json_object_put(j->record);
        j->record = o;
}

bool job_record_is(const struct job *j, const char *outcome)
{
        return STREQ(json_str(j->record, "outcome") ?: "", outcome);
}

/* Which outcomes exist is up to cprd-handoff's table of stages, but there must be one. */
static bool has_outcome(const struct job *j)
{
        const char *outcome = json_str(j->record, "outcome") ?: "";
        size_t n = strspn(outcome, "abcdefghijklmnopqrstuvwxyz_");

        return n > 0 && n <= 32 && outcome[n] == '\0';
}

static bool is_empty(json_object *array)
{
        return !array || json_object_array_length(array) == 0;
}

void job_record_complete(struct job *j)
{
        static const char *const qemus[] = {"source", "destination"}, *const keys[] = {"version", "machine"};

        if (!has_outcome(j))
                job_record_make(j, "needs_operator", "cprd-handoff has left a record without an outcome",
                                "look at both QEMUs of this VM");
        /* These are known here, whatever the journal says. */
        json_add_str(j->record, "id", j->id);
        json_add_str(j->record, "name", j->name);
        if (!j->check && is_empty(json_arr(j->record, "findings")))
                json_add(j->record, "findings", json_object_get(j->findings));
        if (!is_empty(j->stages))
                json_add(j->record, "stages", json_object_get(j->stages));
        for (size_t i = 0; i < ELEMENTSOF(qemus); i++) {
                json_object *qemu = json_obj(j->record, qemus[i]), *fact = job_facts_qemu(j->facts, qemus[i]);

                for (size_t k = 0; qemu && k < ELEMENTSOF(keys); k++)
                        if (!json_str(qemu, keys[k]))
                                json_add_str(qemu, keys[k], json_str(fact, keys[k]));
        }
}
