/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/job.h"

#include "common/connections.h"
#include "common/file.h"
#include "daemon/job-facts.h"

struct job *job_new(struct queue *queue, const char *directory, const char *id)
{
        struct job *j = mem_new(1, sizeof(*j));

        j->queue = queue;
        j->connections = -1;
        j->directory = file_path(directory, "%s", id);
        snprintf(j->id, sizeof(j->id), "%s", id);
        custody_init(&j->custody, id);
        j->findings = json_object_new_array();
        j->facts = json_object_new_object();
        j->stages = json_object_new_array();
        return j;
}

struct job *job_free(struct job *j)
{
        if (!j)
                return NULL;
        while (j->observers)
                job_ignore(j->observers);
        sd_event_source_disable_unref(j->timer);
        custody_done(&j->custody);
        journal_free(j->journal);
        free(j->directory);
        json_object_put(j->order);
        json_object_put(j->findings);
        json_object_put(j->facts);
        json_object_put(j->stages);
        json_object_put(j->record);
        free(j);
        return NULL;
}

bool job_has_begun(const struct job *j)
{
        return j->stage[0] != '\0';
}

void job_observe(struct job *j, struct observer *o)
{
        o->job = j;
        o->next = j->observers;
        j->observers = o;
}

void job_ignore(struct observer *o)
{
        struct observer **at;

        if (!o->job)
                return;
        at = &o->job->observers;
        while (*at != o)
                at = &(*at)->next;
        *at = o->next;
        o->job = NULL;
}

void job_notify_progress(struct job *j, json_object *progress)
{
        struct observer *next;

        for (struct observer *o = j->observers; o; o = next) {
                next = o->next;
                if (o->progress)
                        o->progress(o, progress);
        }
}

void job_notify_end(struct job *j)
{
        while (j->observers) {
                struct observer *o = j->observers;

                job_ignore(o);
                o->ended(o, j->record);
        }
}

/* The connections at the beginning: counted once, when the CID is known and nothing has been touched. */
static int64_t connections_at_begin(struct job *j, int64_t cid)
{
        if (j->connections < 0 && cid >= 0)
                j->connections = connections_count(cid);
        return j->connections;
}

json_object *job_about(struct job *j)
{
        json_object *o = json_object_new_object();
        int64_t cid = job_facts_cid(j->facts), connections = connections_at_begin(j, cid),
                pause = job_facts_pause(j->facts);

        json_add(o, "source", job_facts_source(j->facts, j->order));
        json_add(o, "destination", job_facts_destination(j->facts, j->order));
        if (cid >= 0)
                json_add_int(o, "cid", cid);
        if (connections >= 0)
                json_add_int(o, "connections", connections);
        if (pause >= 0)
                json_add_int(o, "pause", pause);
        return o;
}
