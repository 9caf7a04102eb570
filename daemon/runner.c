/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/runner.h"

#include "common/log.h"
#include "daemon/announce.h"
#include "daemon/job-facts.h"
#include "daemon/job-journal.h"
#include "daemon/job-record.h"

#include <fcntl.h>

#define TRIES_MAX         5
#define HELLO_WAIT_USEC   (15 * USEC_PER_SEC)  /* between the start of its unit and its HELLO */
#define GOODBYE_WAIT_USEC (5 * USEC_PER_SEC)   /* between the record and DONE */
#define SILENCE_USEC      (120 * USEC_PER_SEC) /* the longest deadline of a stage by default… */
#define SILENCE_MORE      (5 * USEC_PER_SEC)   /* …and how much later something must have come */
#define SILENCE_MAX       (3600 * USEC_PER_SEC)

/* ---- the end ---- */

/* The destination: the pidfd in custody identifies its process for certain; failing that, its start time
 * must. */
static void find_destination(const struct job *j, struct process *ret)
{
        int64_t pid, start_time;
        struct failure f = {};
        int kept = custody_get(&j->custody, CUSTODY_DESTINATION),
            copy = kept < 0 ? -EBADF : fcntl(kept, F_DUPFD_CLOEXEC, 3);

        if (copy >= 0 && process_adopt(ret, copy, &f) >= 0)
                return;
        close_fd(copy);
        if (copy < 0 && job_facts_destination_process(j->facts, &pid, &start_time))
                process_open(ret, (pid_t)pid, (uint64_t)start_time, &f);
        if (ret->pidfd < 0)
                log_full(LOG_WARNING, j->name, j->id, "the new QEMU has already exited: %s",
                         f.what[0] ? f.what : "nothing is known about it");
}

/* Whether the guest is now in the destination. It is, if that lives, even if the last steps failed. */
static bool has_moved(const struct job *j, const struct process *destination)
{
        if (job_record_is(j, "updated"))
                return true;
        return job_record_is(j, "needs_operator") && job_facts_committed(j->facts) &&
               destination->pidfd >= 0 && process_is_alive(destination);
}

/* A journal left over by accident may be older than the registry. */
static bool is_about(const struct job *j, const struct vm *vm)
{
        return json_int(j->order, "pid", -1) == vm->pid &&
               json_int(j->order, "startTime", -1) == (int64_t)vm->start_time;
}

static void update_registry(struct job *j)
{
        _cleanup_(process_close) struct process destination = PROCESS_NULL;
        struct vm *vm = registry_find(j->queue->registry, j->name);

        if (!vm || !is_about(j, vm))
                return;
        vm_learn(vm, j->record);
        if (j->check)
                return;
        if (job_record_is(j, "updated") || job_facts_committed(j->facts))
                find_destination(j, &destination);
        if (has_moved(j, &destination)) {
                vm->pid = (pid_t)json_int(json_obj(j->record, "destination"), "pid", vm->pid);
                vm_replace(vm, &destination, json_obj(j->record, "destination"));
        }
        vm_set_last_handoff(vm, j->id);
}

/* The record is kept before anything else of the job is removed: after a crash in between, it ends once more,
 * with the same record. */
void runner_end(struct job *j)
{
        struct queue *q = j->queue;
        struct failure f = {};

        job_record_complete(j);
        if (!j->check) {
                if (history_add(q->history, j->id, j->name, j->record, &f) < 0)
                        log_full(LOG_ERR, j->name, j->id, "%s", f.what);
                announce(j->record);
        }
        update_registry(j);
        helper_free(j->helper);
        custody_drop(&j->custody);
        job_journal_remove(j);
        queue_remove(j);
        job_notify_end(j);
        job_free(j);
        queue_pump(q);
}

static void give_up(struct job *j, const char *reason)
{
        char remedy[256] = "see why systemd cannot start cprd-handoff@.service (journalctl -u cprd)";
        const bool untouched = !job_has_begun(j) && !j->check; /* a check that never ran has failed */

        if (!untouched)
                snprintf(remedy, sizeof(remedy),
                         "look at both QEMUs of this VM and at the log (journalctl VM=%s), make sure that "
                         "exactly one runs the guest, then register that one",
                         j->name);
        job_record_make(j, untouched ? "refused" : "needs_operator", reason, remedy);
        runner_end(j);
}

/* ---- what a cprd-handoff does ---- */

void runner_read(struct job *j)
{
        _cleanup_json_ json_object *learnt = NULL;
        struct failure f = {};

        if (job_journal_read(j, &f) < 0)
                log_full(LOG_WARNING, j->name, j->id, "%s", f.what);
        learnt = job_facts_take_learnt(j->facts);
        if (learnt)
                learnt_add(j->queue->learnt, learnt);
        if (j->record)
                runner_set_timer(j, GOODBYE_WAIT_USEC);
}

void runner_finished(struct job *j)
{
        runner_read(j);
        if (j->record)
                runner_end(j);
        else
                runner_lost(j, "cprd-handoff said that it had finished, but the journal has no record");
}

void runner_lost(struct job *j, const char *why)
{
        runner_read(j);
        helper_free(j->helper);
        if (j->record) {
                runner_end(j);
                return;
        }
        log_full(LOG_WARNING, j->name, j->id, "%s%s%s", why, job_has_begun(j) ? ", in stage " : "", j->stage);
        if (j->tries >= TRIES_MAX) {
                give_up(j, why);
                return;
        }
        j->state = JOB_RETRYING;
        runner_set_timer(j, j->queue->retry_usec << 2 * (j->tries ? j->tries - 1 : 0));
}

int runner_connected(struct job *j, struct helper *h, bool again)
{
        int r = 0;

        if (j->helper || j->state == JOB_WAITING || (j->state == JOB_ORPHANED) != again)
                return -ENOENT;
        helper_bind(h, j);
        j->state = JOB_RUNNING;
        runner_heard(j);
        if (!again)
                r = helper_send_order(h);
        if (r < 0) {
                runner_lost(j, strerror(-r));
                return 0;
        }
        if (again) {
                log_full(LOG_INFO, j->name, j->id, "cprd-handoff is back");
                j->tries++;
        }
        if (j->cancelled)
                helper_abort(h);
        runner_read(j);
        return 0;
}

void runner_begin(struct job *j)
{
        struct queue *q = j->queue;
        struct failure f = {};
        int r;

        j->state = JOB_STARTING;
        j->tries++;
        runner_set_timer(j, HELLO_WAIT_USEC);
        r = q->starter.start(q->starter.userdata, j->id, &f);
        if (r < 0)
                runner_lost(j, f.what[0] ? f.what : strerror(-r));
}

void runner_absent(struct job *j)
{
        if (j->state != JOB_ORPHANED)
                return;
        /* Its guest may be paused, so it does not wait for its turn. */
        if (job_has_begun(j)) {
                runner_begin(j);
                return;
        }
        j->state = JOB_WAITING;
        queue_pump(j->queue);
}

int runner_cancel(struct job *j)
{
        if (j->committing)
                return -EALREADY;
        j->cancelled = true;
        if (j->state == JOB_WAITING && !job_has_begun(j)) {
                job_record_make(j, "still_on_source", "cancelled before it began", NULL);
                runner_end(j);
        } else if (j->helper) {
                helper_abort(j->helper);
        }
        return 0;
}

/* ---- time ---- */

uint64_t runner_silence(const struct config *config)
{
        uint64_t longest = SILENCE_USEC;

        if (!config->deadlines)
                return longest + SILENCE_MORE;
        json_object_object_foreach (config->deadlines, stage, usec) {
                uint64_t deadline = (uint64_t)json_object_get_int64(usec);

                (void)stage;
                longest = deadline > longest ? (deadline < SILENCE_MAX ? deadline : SILENCE_MAX) : longest;
        }
        return longest + SILENCE_MORE;
}

void runner_heard(struct job *j)
{
        runner_set_timer(j, runner_silence(j->queue->config));
}

static void kill_helper(struct job *j)
{
        j->queue->starter.kill(j->queue->starter.userdata, j->id);
}

static void on_stalled(struct job *j)
{
        const size_t seen = j->n_lines;

        /* During the pause it only writes to the journal. */
        runner_read(j);
        if (j->record)
                return;
        if (j->n_lines > seen) {
                runner_heard(j);
                return;
        }
        log_full(LOG_WARNING, j->name, j->id, "cprd-handoff does not respond%s%s and is killed",
                 job_has_begun(j) ? " in stage " : "", j->stage);
        kill_helper(j);
        runner_lost(j, "cprd-handoff hung");
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct job *j = userdata;

        switch (j->state) {
        case JOB_WAITING:
                break;
        case JOB_ORPHANED:
                runner_absent(j);
                break;
        case JOB_RETRYING:
                runner_begin(j);
                break;
        case JOB_STARTING:
                kill_helper(j);
                runner_lost(j, "cprd-handoff was started but did not connect");
                break;
        case JOB_RUNNING:
                on_stalled(j);
                break;
        }
        return 0;
}

void runner_set_timer(struct job *j, uint64_t usec)
{
        int r;

        if (j->timer)
                r = sd_event_source_set_time_relative(j->timer, usec);
        else
                r = sd_event_add_time_relative(j->queue->event, &j->timer, CLOCK_BOOTTIME, usec,
                                               10 * USEC_PER_MSEC, on_timer, j);
        if (r >= 0)
                r = sd_event_source_set_enabled(j->timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_full(LOG_ERR, j->name, j->id, "cannot set a timer: %s", strerror(-r));
}
