/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/queue.h"

#include "common/device.h"
#include "common/file.h"
#include "common/log.h"
#include "daemon/job-journal.h"

#include <fcntl.h>
#include <sys/random.h>

#define RETRY_USEC (50 * USEC_PER_MSEC)

void queue_init(struct queue *q, const char *runtime)
{
        q->directory = file_path(runtime, "handoffs");
        q->device_path = DEVICE_VHOST_VSOCK;
        q->retry_usec = RETRY_USEC;
}

void queue_done(struct queue *q)
{
        while (q->jobs) {
                struct job *j = q->jobs;

                queue_remove(j);
                job_free(j);
        }
        free(q->directory);
        *q = (struct queue){};
}

struct job *queue_find(const struct queue *q, const char *id)
{
        for (struct job *j = q->jobs; j; j = j->next)
                if (STREQ(j->id, id))
                        return j;
        return NULL;
}

void queue_add(struct queue *q, struct job *j)
{
        struct job **at = &q->jobs;
        struct vm *vm = registry_find(q->registry, j->name);

        while (*at)
                at = &(*at)->next;
        *at = j;
        if (vm)
                snprintf(vm->job, sizeof(vm->job), "%s", j->id);
}

void queue_remove(struct job *j)
{
        struct job **at = &j->queue->jobs;
        struct vm *vm = registry_find(j->queue->registry, j->name);

        while (*at && *at != j)
                at = &(*at)->next;
        if (*at)
                *at = j->next;
        if (vm && STREQ(vm->job, j->id))
                vm->job[0] = '\0';
}

/* ---- the order ---- */

static json_object *order_make(const struct queue *q, const struct vm *vm,
                               const struct queue_request *request, const char *id)
{
        json_object *o = json_object_new_object();

        json_add_str(o, "id", id);
        json_add_str(o, "name", vm->name);
        json_add_str(o, "caller", request->caller);
        json_add_int(o, "pid", vm->pid);
        json_add_int(o, "startTime", (int64_t)vm->start_time);
        json_add_str(o, "binary", request->binary);
        json_add(o, "binaries", json_object_get(q->config->binaries));
        json_add(o, "learnt", learnt_find(q->learnt, request->binary ?: vm->binary));
        json_add_str(o, "qmp", vm->qmp);
        json_add_int(o, "maxPause", request->max_pause);
        if (request->faults)
                json_add(o, "faults", json_object_get(request->faults));
        if (q->config->deadlines)
                json_add(o, "deadlines", json_object_get(q->config->deadlines));
        json_add_str(o, "until", request->check ? "check" : request->rehearse ? "match" : "retire");
        json_add_int(o, "begun", (int64_t)now_usec());
        return o;
}

/* Six hex digits that no job and no record uses. */
static int id_make(const struct queue *q, char id[static 16])
{
        for (int i = 0; i < 100; i++) {
                uint32_t random;

                if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                        return -EIO;
                snprintf(id, 16, "%06x", random & 0xffffff);
                if (!queue_find(q, id) && !history_has(q->history, id))
                        return 0;
        }
        return -EEXIST;
}

static int keep_source(struct job *j, const struct vm *vm, struct failure *f)
{
        int pidfd = fcntl(vm->process.pidfd, F_DUPFD_CLOEXEC, 3);

        return pidfd < 0 ? failure_set(f, ESRCH, "its QEMU has exited")
                         : custody_keep(&j->custody, CUSTODY_SOURCE, 0, pidfd, f);
}

int queue_ask(struct queue *q, struct vm *vm, const struct queue_request *request, struct job **ret,
              struct failure *f)
{
        struct job *j;
        char id[16];
        int r = id_make(q, id);

        if (r < 0)
                return failure_set(f, r, "cannot make an id: %s", strerror(-r));
        j = job_new(q, q->directory, id);
        snprintf(j->name, sizeof(j->name), "%s", vm->name);
        j->check = request->check;
        j->order = order_make(q, vm, request, id);
        r = job_journal_create(j, f);
        if (r >= 0)
                r = keep_source(j, vm, f);
        if (r < 0) {
                job_journal_remove(j);
                job_free(j);
                return r;
        }
        queue_add(q, j);
        log_full(j->check ? LOG_DEBUG : LOG_INFO, j->name, j->id, "%s requested by %s",
                 j->check ? "check" : "handoff", request->caller);
        *ret = j;
        queue_pump(q);
        return 0;
}

/* ---- whose turn it is ---- */

/* In order of request, which after a restart is not the order of the list. */
static struct job *oldest_waiting(const struct queue *q)
{
        struct job *oldest = NULL;

        for (struct job *j = q->jobs; j; j = j->next)
                if (j->state == JOB_WAITING &&
                    (!oldest || json_int(j->order, "begun", 0) < json_int(oldest->order, "begun", 0)))
                        oldest = j;
        return oldest;
}

/* An orphan that was never begun counts as waiting. */
static bool is_active(const struct job *j)
{
        return j->state != JOB_WAITING && (j->state != JOB_ORPHANED || job_has_begun(j));
}

void queue_pump(struct queue *q)
{
        struct job *waiting;
        int64_t active = 0;

        for (struct job *j = q->jobs; j; j = j->next)
                active += is_active(j);
        for (; active < q->config->handoffs && (waiting = oldest_waiting(q)); active++)
                q->begin(waiting);
}
