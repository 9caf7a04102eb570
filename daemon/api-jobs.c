/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/api-jobs.h"

#include "common/log.h"
#include "daemon/daemon.h"
#include "daemon/reply.h"
#include "daemon/request.h"

/* A call that waits for a job. */
struct waiter {
        struct observer observer;
        struct call *call;
        bool has_findings; /* already sent */
};

static void waiter_gone(struct call *call)
{
        struct waiter *w = call->data;

        job_ignore(&w->observer);
        free(w);
}

static void wait_for_job(struct call *call, struct job *j, void (*progress)(struct observer *, json_object *),
                         void (*ended)(struct observer *, json_object *))
{
        struct waiter *w = mem_new(1, sizeof(*w));

        *w = (struct waiter){.observer = {.progress = progress, .ended = ended}, .call = call};
        call->data = w;
        call->gone = waiter_gone;
        job_observe(j, &w->observer);
}

static struct waiter *waiter_of(struct observer *o)
{
        return (struct waiter *)((char *)o - offsetof(struct waiter, observer));
}

/* ---- check ---- */

static bool has_blocker(json_object *findings)
{
        for (size_t i = 0; i < json_object_array_length(findings); i++)
                if (STREQ(json_str(json_object_array_get_idx(findings, i), "severity") ?: "", "blocker"))
                        return true;
        return false;
}

static void copy_member(json_object *to, json_object *from, const char *key)
{
        json_object *v = NULL;

        if (json_object_object_get_ex(from, key, &v) && v)
                json_add(to, key, json_object_get(v));
}

/* A failure that ended the check is a blocker too, even if it belongs to no single check: its id is the
 * stage. */
static json_object *findings_of(json_object *record, bool refused)
{
        json_object *findings = json_arr(record, "findings"), *o;

        findings = findings ? json_object_get(findings) : json_object_new_array();
        if (!refused || has_blocker(findings))
                return findings;
        o = reply_object("id", json_str(record, "stage") ?: "check");
        json_add_str(o, "severity", "blocker");
        json_add_str(o, "what", json_str(record, "reason") ?: "the check ended early");
        json_add_str(o, "remedy", json_str(record, "remedy"));
        json_object_array_add(findings, o);
        return findings;
}

static void check_ended(struct observer *o, json_object *record)
{
        struct call *call = waiter_of(o)->call;
        const char *reason = json_str(record, "reason");
        bool refused = STREQ(json_str(record, "outcome") ?: "", "refused");
        json_object *reply, *findings;

        if (!refused && reason) {
                struct failure f = {};

                failure_set(&f, EIO, "%s", reason);
                failure_remedy(&f, "%s", json_str(record, "remedy") ?: "");
                reply_failure(call, "Failed", &f);
                return;
        }
        reply = json_object_new_object();
        findings = findings_of(record, refused);
        json_add_bool(reply, "passed", !has_blocker(findings));
        copy_member(reply, record, "source");
        copy_member(reply, record, "destination");
        json_add(reply, "findings", findings);
        call_reply(call, reply);
}

/* ---- handoff ---- */

/* Findings go out with the first reply after they are known. */
static void handoff_progress(struct observer *o, json_object *progress)
{
        struct waiter *w = waiter_of(o);
        json_object *reply = reply_object("id", o->job->id);

        json_add(reply, "progress", json_object_get(progress));
        json_add(reply, "about", job_about(o->job));
        if (!w->has_findings && json_object_array_length(o->job->findings) > 0) {
                json_add(reply, "findings", json_object_get(o->job->findings));
                w->has_findings = true;
        }
        call_continue(w->call, reply);
}

static void handoff_ended(struct observer *o, json_object *record)
{
        json_object *reply = reply_object("id", json_str(record, "id"));

        json_add(reply, "record", json_object_get(record));
        call_reply(waiter_of(o)->call, reply);
}

static struct job *ask(struct call *call, struct queue_request *request)
{
        struct daemon *d = call->context;
        struct vm *vm = request_vm(call);
        struct failure f = {};
        struct job *j;

        if (!vm || request_is_busy(call, vm) || !request_read(call, vm, request))
                return NULL;
        if (queue_ask(&d->queue, vm, request, &j, &f) >= 0)
                return j;
        log_failure(LOG_ERR, &f, "%s: cannot begin a handoff", vm->name);
        reply_failure(call, "Failed", &f);
        return NULL;
}

void api_check(struct call *call)
{
        struct job *j = ask(call, &(struct queue_request){.check = true});

        if (j)
                wait_for_job(call, j, NULL, check_ended);
}

void api_handoff(struct call *call)
{
        struct job *j = ask(call, &(struct queue_request){});

        if (!j)
                return;
        wait_for_job(call, j, handoff_progress, handoff_ended);
        call_continue(call, reply_object("id", j->id));
}

void api_cancel(struct call *call)
{
        struct daemon *d = call->context;
        struct vm *vm = request_vm(call);
        struct job *j;

        if (!vm)
                return;
        j = queue_find(&d->queue, vm->job);
        if (!j || runner_cancel(j) < 0)
                call_error(call, "NotCancellable", reply_object("name", vm->name));
        else
                call_reply(call, NULL);
}

/* ---- history ---- */

static void reply_records(struct call *call, json_object *records)
{
        json_object *o = json_object_new_object();

        json_add(o, "records", records);
        call_reply(call, o);
}

static void history_ended(struct observer *o, json_object *record)
{
        json_object *records = json_object_new_array();

        json_object_array_add(records, json_object_get(record));
        reply_records(waiter_of(o)->call, records);
}

void api_history(struct call *call)
{
        struct daemon *d = call->context;
        const char *name = json_str(call->parameters, "name"), *id = json_str(call->parameters, "id");
        struct job *j = id ? queue_find(&d->queue, id) : NULL;
        json_object *records;

        if (j && !j->check && (!name || STREQ(name, j->name))) {
                wait_for_job(call, j, NULL, history_ended);
                return;
        }
        records = history_list(&d->history, name, id);
        if (id && json_object_array_length(records) == 0) {
                json_object_put(records);
                call_error(call, "NoSuchRecord", reply_object("id", id));
                return;
        }
        reply_records(call, records);
}
