/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/job-journal.h"

#include "common/file.h"
#include "common/log.h"
#include "daemon/job-facts.h"

#include <fcntl.h>
#include <sys/stat.h>

static int open_journal(const struct job *j, int flags)
{
        _cleanup_free_ char *path = file_path(j->directory, "journal");
        int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);

        return fd < 0 ? -errno : fd;
}

int job_journal_open(const struct job *j)
{
        return open_journal(j, O_RDWR);
}

int job_journal_load(struct job *j, struct failure *f)
{
        int fd = open_journal(j, O_RDONLY);

        return fd < 0 ? failure_set(f, fd, "cannot open its journal: %s", strerror(-fd))
                      : journal_open(fd, false, &j->journal, f);
}

int job_journal_create(struct job *j, struct failure *f)
{
        _cleanup_(journal_freep) struct journal *writer = NULL;
        int fd, r;

        if (mkdir(j->directory, 0711) < 0)
                return failure_set(f, errno, "cannot make %s: %s", j->directory, strerror(errno));
        r = fd = open_journal(j, O_RDWR | O_CREAT | O_EXCL);
        if (r >= 0)
                r = journal_open(fd, true, &writer, f);
        if (r >= 0)
                r = journal_append(writer, "order", json_object_get(j->order));
        if (r < 0)
                return failure_set(f, r, "cannot write the journal in %s: %s", j->directory, strerror(-r));
        return job_journal_load(j, f);
}

static void add_time(struct job *j, const char *stage, int64_t elapsed)
{
        json_object *o = json_object_new_object();

        json_add_str(o, "stage", stage);
        json_add_int(o, "elapsed", elapsed);
        json_object_array_add(j->stages, o);
}

/* An older cprd-handoff, left running by an upgrade, does not tell. */
static bool is_past_cancelling(json_object *progress)
{
        return json_object_object_get_ex(progress, "cancellable", NULL) &&
               !json_flag(progress, "cancellable");
}

static void take_progress(struct job *j, json_object *progress)
{
        const char *stage = json_str(progress, "stage");
        int64_t elapsed = json_int(progress, "elapsed", -1);
        bool undo = json_flag(progress, "undo");

        if (!stage)
                return;
        if (elapsed >= 0 && !undo)
                add_time(j, stage, elapsed);
        snprintf(j->stage, sizeof(j->stage), "%s", stage);
        if (!undo && is_past_cancelling(progress))
                j->committing = true;
        job_notify_progress(j, progress);
}

static void take_line(struct job *j, json_object *line)
{
        json_object *o;

        if ((o = json_obj(line, "progress"))) {
                take_progress(j, o);
        } else if ((o = json_obj(line, "finding"))) {
                json_object_array_add(j->findings, json_object_get(o));
        } else if ((o = json_obj(line, "fact"))) {
                job_facts_merge(j->facts, o);
        } else if ((o = json_obj(line, "record"))) {
                json_object_put(j->record);
                j->record = json_object_get(o);
        } else if ((o = json_obj(line, "order")) && !j->order) {
                j->order = json_object_get(o);
        }
}

int job_journal_read(struct job *j, struct failure *f)
{
        for (;;) {
                _cleanup_json_ json_object *line = NULL;
                int r = journal_next(j->journal, &line, f);

                if (r <= 0)
                        return r;
                j->n_lines++;
                take_line(j, line);
        }
}

void job_journal_remove(const struct job *j)
{
        _cleanup_free_ char *journal = file_path(j->directory, "journal"),
                            *parent = file_path(j->directory, "..");
        _cleanup_close_ int dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = dir < 0 ? -errno : 0;

        /* The journal first: a directory that has one comes back at the next start, and something else in the
         * directory may refuse to go. */
        unlink(journal);
        if (r >= 0)
                r = file_remove_tree(dir, j->id);
        if (r < 0 && r != -ENOENT)
                log_full(LOG_WARNING, j->name, j->id, "cannot remove %s: %s", j->directory, strerror(-r));
}
