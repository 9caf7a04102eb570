/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/record.h"

#include "common/file.h"
#include "common/log.h"

static json_object *qemu(const struct process *p, const char *binary, const char *version,
                         const char *machine)
{
        json_object *o = json_object_new_object();
        char file[FILE_IDENTITY_MAX];

        json_add_int(o, "pid", p->pid);
        json_add_str(o, "binary", binary ?: "");
        json_add_str(o, "version", version);
        json_add_str(o, "machine", machine);
        if (p->proc_fd >= 0 && file_identity(p->proc_fd, "exe", file) >= 0)
                json_add_str(o, "file", file);
        return o;
}

static void add_pause(const struct handoff *h, json_object *o)
{
        if (h->stop_usec && h->resume_usec > h->stop_usec)
                json_add_int(o, "pause", (int64_t)(h->resume_usec - h->stop_usec));
}

static void add_connections(const struct handoff *h, json_object *o)
{
        if (!h->before.established || !h->after.established)
                return;
        json_add_int(o, "connectionsBefore", (int64_t)h->before.n);
        json_add_int(o, "connectionsAfter", (int64_t)h->after.n);
        json_add_int(o, "lost", (int64_t)connections_lost(&h->before, &h->after));
}

json_object *record_make(struct handoff *h, const char *outcome, json_object *stages)
{
        json_object *o = json_object_new_object();
        const struct source_facts *source = &h->facts.source;
        const struct destination_facts *destination = &h->facts.destination;

        json_add_str(o, "id", h->order.id);
        json_add_str(o, "name", h->order.name);
        json_add_str(o, "caller", h->order.caller);
        json_add_str(o, "outcome", outcome);
        if (source->binary)
                json_add(o, "source",
                         qemu(&h->source.process, source->binary, source->version, source->machine));
        if (destination->binary)
                json_add(o, "destination",
                         qemu(&h->destination.process, destination->binary, destination->version,
                              source->machine));
        if (source->cid)
                json_add_int(o, "cid", source->cid);
        json_add_int(o, "begun", (int64_t)h->order.begun);
        json_add_int(o, "elapsed", (int64_t)(now_usec() - h->order.begun));
        add_pause(h, o);
        add_connections(h, o);
        json_add(o, "stages", json_object_get(stages));
        json_add_str(o, "stage", h->failed_stage);
        if (h->failure.error) {
                json_add_str(o, "reason", h->failure.what[0] ? h->failure.what : strerror(h->failure.error));
                json_add_str(o, "remedy", h->failure.remedy[0] ? h->failure.remedy : NULL);
        }
        json_add(o, "findings",
                 h->findings.list ? json_object_get(h->findings.list) : json_object_new_array());
        return o;
}
