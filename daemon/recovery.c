/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/recovery.h"

#include "common/log.h"
#include "daemon/job-facts.h"
#include "daemon/job-journal.h"

#include <dirent.h>

#define ORPHAN_WAIT_USEC (10 * USEC_PER_SEC) /* if cprd-handoff runs, it reconnects by itself */

static bool is_id(const char *name)
{
        size_t n = strspn(name, "0123456789abcdef");

        return n > 0 && n < sizeof(((struct job *)0)->id) && name[n] == '\0';
}

static int load_one(struct queue *q, const char *id, struct failure *f)
{
        struct job *j = job_new(q, q->directory, id);
        int r = job_journal_load(j, f);

        if (r >= 0)
                r = job_journal_read(j, f);
        if (r < 0 || !name_is_valid(json_str(j->order, "name"))) {
                job_journal_remove(j);
                job_free(j);
                return failure_set(f, EBADMSG, "its journal holds no order");
        }
        snprintf(j->name, sizeof(j->name), "%s", json_str(j->order, "name"));
        j->check = STREQ(json_str(j->order, "until") ?: "", "check");
        j->state = JOB_ORPHANED;
        queue_add(q, j);
        return 0;
}

int recovery_load(struct queue *q, struct failure *f)
{
        struct dirent **names = NULL;
        int n = scandir(q->directory, &names, NULL, alphasort);

        if (n < 0)
                return failure_set(f, errno, "cannot read %s: %s", q->directory, strerror(errno));
        for (int i = 0; i < n; i++) {
                struct failure why = {};

                if (is_id(names[i]->d_name) && load_one(q, names[i]->d_name, &why) < 0)
                        log_warning("handoff %s is dropped: %s", names[i]->d_name, why.what);
                free(names[i]);
        }
        free(names);
        return 0;
}

void recovery_take_fd(struct queue *q, const char *name, int fd)
{
        for (struct job *j = q->jobs; j; j = j->next)
                if (custody_take_back(&j->custody, name, fd))
                        return;
        custody_forget(name, fd);
}

/* Without the fd store (cprd was stopped, not restarted) a process is found by its pid and start time. */
static void find_process(struct job *j, enum custody_kind kind, int64_t pid, int64_t start_time)
{
        struct process p = PROCESS_NULL;
        struct failure f = {};

        if (custody_get(&j->custody, kind) >= 0 || pid <= 0 || start_time <= 0 ||
            process_open(&p, (pid_t)pid, (uint64_t)start_time, &f) < 0)
                return;
        if (custody_keep(&j->custody, kind, 0, TAKE_FD(p.pidfd), &f) < 0)
                log_full(LOG_WARNING, j->name, j->id, "%s", f.what);
        process_close(&p);
}

static void resume(struct job *j)
{
        struct queue *q = j->queue;
        int64_t pid, start_time;

        if (j->record) {
                runner_end(j);
                return;
        }
        log_full(LOG_NOTICE, j->name, j->id, "was in flight when cprd ended%s%s",
                 job_has_begun(j) ? ", in stage " : "", j->stage);
        find_process(j, CUSTODY_SOURCE, json_int(j->order, "pid", 0), json_int(j->order, "startTime", 0));
        if (job_facts_destination_process(j->facts, &pid, &start_time))
                find_process(j, CUSTODY_DESTINATION, pid, start_time);
        runner_set_timer(j, ORPHAN_WAIT_USEC);
        if (q->starter.look)
                q->starter.look(q->starter.userdata, j->id);
}

void recovery_resume(struct queue *q)
{
        struct job *next;

        for (struct job *j = q->jobs; j; j = next) {
                next = j->next;
                if (j->state == JOB_ORPHANED)
                        resume(j);
        }
}
