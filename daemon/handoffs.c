/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/handoffs.h"
#include "common/file.h"

#include "common/log.h"
#include "daemon/helpers.h"
#include "daemon/history.h"
#include "daemon/vm.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/random.h>
#include <sys/stat.h>

#define TRIES_MAX         5
#define ORPHAN_WAIT_USEC  (10 * USEC_PER_SEC) /* cprd-handoff connects again by itself, if it runs */
#define HELLO_WAIT_USEC   (15 * USEC_PER_SEC) /* between the start of its unit and its HELLO */
#define RETRY_WAIT_USEC   (50 * USEC_PER_MSEC)
#define GOODBYE_WAIT_USEC (5 * USEC_PER_SEC) /* between the record and DONE */

static void handoff_begin(struct handoff *h);
static void handoffs_pump(struct daemon *d);

struct handoff *handoff_find(struct daemon *d, const char *id)
{
        for (struct handoff *h = d->handoffs; h; h = h->next)
                if (STREQ(h->id, id))
                        return h;
        return NULL;
}

static void handoff_link(struct handoff *h)
{
        struct handoff **at = &h->daemon->handoffs;
        struct vm *vm = vm_find(h->daemon, h->name);

        while (*at)
                at = &(*at)->next;
        *at = h;
        if (vm)
                vm->handoff = h;
}

static void handoff_unlink(struct handoff *h)
{
        struct handoff **at = &h->daemon->handoffs;
        struct vm *vm = vm_find(h->daemon, h->name);

        while (*at && *at != h)
                at = &(*at)->next;
        if (*at)
                *at = h->next;
        if (vm && vm->handoff == h)
                vm->handoff = NULL;
}

static void handoff_free(struct handoff *h)
{
        while (h->observers)
                observer_remove(h->observers);
        helper_detach(h);
        sd_event_source_disable_unref(h->timer);
        custody_close(&h->custody);
        journal_free(h->journal);
        json_object_put(h->order);
        json_object_put(h->findings);
        json_object_put(h->facts);
        json_object_put(h->stages);
        json_object_put(h->record);
        free(h);
}

static struct handoff *handoff_alloc(struct daemon *d, const char *id)
{
        struct handoff *h = calloc(1, sizeof(*h));

        if (!h)
                return NULL;
        h->daemon = d;
        h->connections = -1;
        snprintf(h->id, sizeof(h->id), "%s", id);
        snprintf(h->custody.id, sizeof(h->custody.id), "%s", id);
        h->findings = json_object_new_array();
        h->facts = json_object_new_object();
        h->stages = json_object_new_array();
        return h;
}

static char *handoff_path(const struct handoff *h, const char *file)
{
        return file_path(h->daemon->runtime, "handoffs/%s%s", h->id, file);
}

int handoff_open_journal(struct handoff *h, bool writable)
{
        _cleanup_free_ char *path = handoff_path(h, "/journal");
        int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);

        return fd < 0 ? -errno : fd;
}

/* Makes handoffs/ID/journal with the order as its first line, and opens it to read on from there. */
static int journal_begin(struct handoff *h, struct failure *f)
{
        _cleanup_(journal_freep) struct journal *writer = NULL;
        _cleanup_free_ char *directory = handoff_path(h, ""), *path = handoff_path(h, "/journal");
        int fd, r;

        if (mkdir(directory, 0711) < 0)
                return failure_set(f, errno, "cannot make %s: %s", directory, strerror(errno));
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return failure_set(f, errno, "cannot make %s: %s", path, strerror(errno));
        r = journal_open(fd, true, &writer, f);
        if (r >= 0)
                r = journal_append(writer, "order", json_object_get(h->order));
        if (r >= 0)
                r = fd = handoff_open_journal(h, false);
        if (r >= 0)
                r = journal_open(fd, false, &h->journal, f);
        return r < 0 ? failure_set(f, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* The whole directory: cprd-handoff may have left sockets in it. */
static void directory_remove(struct handoff *h)
{
        _cleanup_free_ char *directory = handoff_path(h, ""), *journal = handoff_path(h, "journal");
        int r;

        /* First, for a directory that has one comes back at the next start: what else is in there may not be
         * ours to remove. */
        unlink(journal);
        r = nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

        if (r < 0 && !(r == -1 && errno == ENOENT))
                log_full(LOG_WARNING, h->name, h->id, "cannot remove %s: %s", directory,
                         strerror(r == -1 ? errno : -r));
}

static json_object *order_make(const struct vm *vm, const struct handoff_request *request, const char *id)
{
        struct daemon *d = vm->daemon;
        json_object *o = json_object_new_object();

        json_add_str(o, "id", id);
        json_add_str(o, "name", vm->name);
        json_add_str(o, "caller", request->caller);
        json_add_int(o, "pid", vm->pid);
        json_add_int(o, "startTime", (int64_t)vm->start_time);
        json_add_str(o, "binary", request->binary);
        json_add(o, "binaries", json_object_get(d->config.binaries));
        json_add_str(o, "qmp", vm->qmp);
        json_add_int(o, "maxPause", request->max_pause);
        json_add_str(o, "strategy", request->strategy);
        if (request->faults)
                json_add(o, "faults", json_object_get(request->faults));
        if (d->config.deadlines)
                json_add(o, "deadlines", json_object_get(d->config.deadlines));
        json_add_str(o, "until", request->check ? "check" : "retire");
        json_add_int(o, "begun", (int64_t)now_usec());
        return o;
}

/* Six hex digits that no handoff in flight and no record has. */
static int id_make(struct daemon *d, char id[static 16])
{
        for (int i = 0; i < 100; i++) {
                _cleanup_json_ json_object *records = NULL;
                uint32_t random;

                if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                        return -EIO;
                snprintf(id, 16, "%06x", random & 0xffffff);
                records = history_list(d, NULL, id);
                if (!handoff_find(d, id) && json_object_array_length(records) == 0)
                        return 0;
        }
        return -EEXIST;
}

int handoff_new(struct vm *vm, const struct handoff_request *request, struct handoff **ret, struct failure *f)
{
        struct handoff *h;
        char id[16];
        int pidfd, r = id_make(vm->daemon, id);

        if (r < 0)
                return failure_set(f, r, "cannot make an id: %s", strerror(-r));
        h = handoff_alloc(vm->daemon, id);
        if (!h)
                return -ENOMEM;
        snprintf(h->name, sizeof(h->name), "%s", vm->name);
        h->check = request->check;
        h->order = order_make(vm, request, id);
        pidfd = fcntl(vm->process.pidfd, F_DUPFD_CLOEXEC, 3);
        r = pidfd < 0 ? failure_set(f, ESRCH, "its QEMU is gone") : journal_begin(h, f);
        if (r >= 0)
                r = custody_keep(&h->custody, CUSTODY_SOURCE, 0, TAKE_FD(pidfd), f);
        if (r < 0) {
                close_fd(pidfd);
                directory_remove(h);
                handoff_free(h);
                return r;
        }
        handoff_link(h);
        log_full(h->check ? LOG_DEBUG : LOG_INFO, h->name, h->id, "%s asked for by %s",
                 h->check ? "check" : "handoff", request->caller);
        handoffs_pump(vm->daemon);
        *ret = h;
        return 0;
}

void handoff_observe(struct handoff *h, struct observer *o)
{
        o->handoff = h;
        o->next = h->observers;
        h->observers = o;
}

void observer_remove(struct observer *o)
{
        struct observer **at;

        if (!o->handoff)
                return;
        at = &o->handoff->observers;
        while (*at != o)
                at = &(*at)->next;
        *at = o->next;
        o->handoff = NULL;
}

/* Qemu of io.cprd.varlink, from a fact where there is one already. */
static json_object *about_qemu(json_object *fact, int64_t pid, const char *binary)
{
        json_object *o = json_object_new_object();

        json_add_int(o, "pid", json_int(fact, "pid", pid));
        json_add_str(o, "binary", json_str(fact, "binary") ?: binary);
        json_add_str(o, "version", json_str(fact, "version"));
        json_add_str(o, "machine", json_str(fact, "machine"));
        return o;
}

/* Those that are there now: asked once, when the CID is known and nothing has been touched. */
static int64_t connections_now(struct handoff *h, int64_t cid)
{
        if (h->connections < 0 && cid >= 0)
                h->connections = vm_count_connections(cid);
        return h->connections;
}

json_object *handoff_about(struct handoff *h)
{
        json_object *source = json_obj(h->facts, "source"), *destination = json_obj(h->facts, "destination");
        json_object *o = json_object_new_object();
        int64_t cid = json_int(source, "cid", -1), connections = connections_now(h, cid);
        int64_t pause = json_int(h->facts, "pause", -1);

        json_add(o, "source", about_qemu(source, json_int(h->order, "pid", 0), ""));
        json_add(o, "destination",
                 about_qemu(destination, 0, json_str(h->order, "binary") ?: json_str(source, "binary") ?: ""));
        if (cid >= 0)
                json_add_int(o, "cid", cid);
        if (connections >= 0)
                json_add_int(o, "connections", connections);
        if (pause >= 0)
                json_add_int(o, "pause", pause);
        return o;
}

static void notify_progress(struct handoff *h, json_object *progress)
{
        struct observer *next;

        for (struct observer *o = h->observers; o; o = next) {
                next = o->next;
                if (o->progress)
                        o->progress(o, progress);
        }
}

static void add_time(struct handoff *h, const char *stage, int64_t elapsed)
{
        json_object *o = json_object_new_object();

        json_add_str(o, "stage", stage);
        json_add_int(o, "elapsed", elapsed);
        json_object_array_add(h->stages, o);
}

static void take_progress(struct handoff *h, json_object *progress)
{
        const char *stage = json_str(progress, "stage");
        int64_t elapsed = json_int(progress, "elapsed", -1);

        if (!stage)
                return;
        if (elapsed >= 0 && !json_flag(progress, "undo"))
                add_time(h, stage, elapsed);
        snprintf(h->stage, sizeof(h->stage), "%s", stage);
        if (STREQ(stage, "commit") && !json_flag(progress, "undo"))
                h->committed = true;
        notify_progress(h, progress);
}

/* Members of later facts win, those of objects within too. */
static void take_fact(struct handoff *h, json_object *fact)
{
        json_object_object_foreach (fact, key, value) {
                json_object *old = json_obj(h->facts, key);

                if (!old || !json_object_is_type(value, json_type_object)) {
                        json_add(h->facts, key, json_object_get(value));
                        continue;
                }
                json_object_object_foreach (value, member, v) {
                        json_add(old, member, json_object_get(v));
                }
        }
}

static void take_line(struct handoff *h, json_object *line)
{
        json_object *o;

        if ((o = json_obj(line, "progress"))) {
                take_progress(h, o);
        } else if ((o = json_obj(line, "finding"))) {
                json_object_array_add(h->findings, json_object_get(o));
        } else if ((o = json_obj(line, "fact"))) {
                take_fact(h, o);
        } else if ((o = json_obj(line, "record"))) {
                json_object_put(h->record);
                h->record = json_object_get(o);
        } else if ((o = json_obj(line, "order")) && !h->order) {
                h->order = json_object_get(o);
        }
}

/* A record that cprd makes itself: nobody else could. */
static json_object *record_make(struct handoff *h, const char *outcome, const char *reason,
                                const char *remedy)
{
        int64_t begun = json_int(h->order, "begun", (int64_t)now_usec());
        json_object *o = json_object_new_object(), *source = json_object_new_object();

        json_add_str(o, "id", h->id);
        json_add_str(o, "name", h->name);
        json_add_str(o, "caller", json_str(h->order, "caller") ?: "unknown");
        json_add_str(o, "outcome", outcome);
        json_add_int(source, "pid", json_int(h->order, "pid", 0));
        json_add_str(source, "binary", "");
        json_add(o, "source", source);
        json_add_int(o, "begun", begun);
        json_add_int(o, "elapsed", (int64_t)now_usec() - begun);
        json_add(o, "stages", json_object_get(h->stages));
        json_add_str(o, "stage", h->stage[0] ? h->stage : NULL);
        json_add_str(o, "reason", reason);
        json_add_str(o, "remedy", remedy);
        json_add(o, "findings", json_object_get(h->findings));
        return o;
}

static bool is_empty(json_object *array)
{
        return !array || json_object_array_length(array) == 0;
}

/* A cprd-handoff that recovered knows less than the journal does: what it could not say is added here. */
static void record_complete(struct handoff *h)
{
        static const char *const qemus[] = {"source", "destination"}, *const keys[] = {"version", "machine"};

        if (!h->check && is_empty(json_arr(h->record, "findings")))
                json_add(h->record, "findings", json_object_get(h->findings));
        if (json_object_array_length(h->stages) > 0)
                json_add(h->record, "stages", json_object_get(h->stages));
        for (size_t i = 0; i < ELEMENTSOF(qemus); i++) {
                json_object *qemu = json_obj(h->record, qemus[i]), *fact = json_obj(h->facts, qemus[i]);

                for (size_t j = 0; qemu && j < ELEMENTSOF(keys); j++)
                        if (!json_str(qemu, keys[j]))
                                json_add_str(qemu, keys[j], json_str(fact, keys[j]));
        }
}

static void registry_update(struct handoff *h)
{
        struct vm *vm = vm_find(h->daemon, h->name);
        json_object *destination = json_obj(h->record, "destination");
        const char *outcome = json_str(h->record, "outcome");

        if (!vm)
                return;
        vm_learn(vm, h->record);
        if (h->check)
                return;
        if (outcome && STREQ(outcome, "updated"))
                vm_replace(vm, (pid_t)json_int(destination, "pid", 0),
                           custody_get(&h->custody, CUSTODY_DESTINATION), json_str(destination, "binary"));
        vm_set_last_handoff(vm, h->id);
}

/* h->record is there. First it is kept, then everything else about this handoff goes: a crash in between ends
 * it once more, with the same record. */
static void handoff_end(struct handoff *h)
{
        struct daemon *d = h->daemon;
        struct failure f = {};

        record_complete(h);
        if (!h->check) {
                if (history_add(d, h->record, &f) < 0)
                        log_full(LOG_ERR, h->name, h->id, "%s", f.what);
                history_log(h->record);
        }
        registry_update(h);
        helper_detach(h);
        custody_drop(&h->custody);
        directory_remove(h);
        handoff_unlink(h);
        while (h->observers) {
                struct observer *o = h->observers;

                observer_remove(o);
                o->ended(o, h->record);
        }
        handoff_free(h);
        handoffs_pump(d);
}

static void give_up(struct handoff *h, const char *reason)
{
        char remedy[256] = "see why systemd cannot start cprd-handoff@.service (journalctl -u cprd)";
        const bool untouched = !h->stage[0] && !h->check; /* a check that was none has failed */

        if (!untouched)
                snprintf(remedy, sizeof(remedy),
                         "look at both QEMUs of this VM and at the log (journalctl VM=%s), make sure that "
                         "exactly one runs the guest, then register that one",
                         h->name);
        json_object_put(h->record);
        h->record = record_make(h, untouched ? "refused" : "needs_operator", reason, remedy);
        handoff_end(h);
}

/* Returns -EBADMSG when the journal is not one; the record may be there now. */
static int read_journal(struct handoff *h, struct failure *f)
{
        for (;;) {
                _cleanup_json_ json_object *line = NULL;
                int r = journal_next(h->journal, &line, f);

                if (r <= 0)
                        return r;
                h->n_lines++;
                take_line(h, line);
        }
}

void handoff_read(struct handoff *h)
{
        struct failure f = {};

        if (read_journal(h, &f) < 0)
                log_full(LOG_WARNING, h->name, h->id, "%s", f.what);
        if (h->record)
                handoff_set_timer(h, GOODBYE_WAIT_USEC);
}

void handoff_helper_done(struct handoff *h)
{
        handoff_read(h);
        if (h->record)
                handoff_end(h);
        else
                handoff_helper_lost(h, "cprd-handoff said that it is through, but the journal has no record");
}

void handoff_helper_lost(struct handoff *h, const char *why)
{
        handoff_read(h);
        helper_detach(h);
        if (h->record) {
                handoff_end(h);
                return;
        }
        log_full(LOG_WARNING, h->name, h->id, "%s%s%s", why, h->stage[0] ? ", in stage " : "", h->stage);
        if (h->tries >= TRIES_MAX) {
                give_up(h, why);
                return;
        }
        h->state = HANDOFF_RETRYING;
        handoff_set_timer(h, RETRY_WAIT_USEC << 2 * (h->tries - 1)); /* 50 ms to 3 s */
}

static void on_stalled(struct handoff *h)
{
        const size_t seen = h->n_lines;

        /* In the pause it only writes. */
        handoff_read(h);
        if (h->record)
                return;
        if (h->n_lines > seen) {
                handoff_set_timer(h, helper_silence(h->daemon));
                return;
        }
        log_full(LOG_WARNING, h->name, h->id, "cprd-handoff does not answer%s%s, it is killed",
                 h->stage[0] ? " in stage " : "", h->stage);
        h->daemon->helper_kill(h->daemon, h->id);
        handoff_helper_lost(h, "cprd-handoff hung");
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct handoff *h = userdata;

        switch (h->state) {
        case HANDOFF_WAITING:
                break;
        case HANDOFF_ORPHANED:
                handoff_helper_absent(h);
                break;
        case HANDOFF_RETRYING:
                handoff_begin(h);
                break;
        case HANDOFF_STARTING:
                h->daemon->helper_kill(h->daemon, h->id);
                handoff_helper_lost(h, "cprd-handoff was started but did not connect");
                break;
        case HANDOFF_RUNNING:
                on_stalled(h);
                break;
        }
        return 0;
}

void handoff_set_timer(struct handoff *h, uint64_t usec)
{
        int r;

        if (h->timer)
                r = sd_event_source_set_time_relative(h->timer, usec);
        else
                r = sd_event_add_time_relative(h->daemon->event, &h->timer, CLOCK_BOOTTIME, usec,
                                               10 * USEC_PER_MSEC, on_timer, h);
        if (r >= 0)
                r = sd_event_source_set_enabled(h->timer, SD_EVENT_ONESHOT);
        if (r < 0)
                log_full(LOG_ERR, h->name, h->id, "cannot set a timer: %s", strerror(-r));
}

void handoff_helper_absent(struct handoff *h)
{
        if (h->state != HANDOFF_ORPHANED)
                return;
        /* Its guest may be paused: it waits for nobody. */
        if (h->stage[0]) {
                handoff_begin(h);
                return;
        }
        h->state = HANDOFF_WAITING;
        handoffs_pump(h->daemon);
}

static void handoff_begin(struct handoff *h)
{
        struct failure f = {};
        int r;

        h->state = HANDOFF_STARTING;
        h->tries++;
        handoff_set_timer(h, HELLO_WAIT_USEC);
        r = h->daemon->helper_start(h->daemon, h->id, &f);
        if (r < 0)
                handoff_helper_lost(h, f.what[0] ? f.what : strerror(-r));
}

/* In the order in which they were asked for, which after a restart is not that of the list. */
static struct handoff *oldest_waiting(struct daemon *d)
{
        struct handoff *oldest = NULL;

        for (struct handoff *h = d->handoffs; h; h = h->next)
                if (h->state == HANDOFF_WAITING &&
                    (!oldest || json_int(h->order, "begun", 0) < json_int(oldest->order, "begun", 0)))
                        oldest = h;
        return oldest;
}

static void handoffs_pump(struct daemon *d)
{
        struct handoff *waiting;
        int64_t active = 0;

        for (struct handoff *h = d->handoffs; h; h = h->next)
                active += h->state != HANDOFF_WAITING && !(h->state == HANDOFF_ORPHANED && !h->stage[0]);
        for (; active < d->config.handoffs && (waiting = oldest_waiting(d)); active++)
                handoff_begin(waiting);
}

int handoff_cancel(struct handoff *h)
{
        if (h->committed)
                return -EALREADY;
        h->cancelled = true;
        if (h->state == HANDOFF_WAITING && !h->stage[0]) {
                h->record = record_make(h, "still_on_source", "cancelled before it began", NULL);
                handoff_end(h);
        } else if (h->helper) {
                helper_abort(h);
        }
        return 0;
}

static int load_one(struct daemon *d, const char *id, struct failure *f)
{
        struct handoff *h = handoff_alloc(d, id);
        int fd, r;

        if (!h)
                return -ENOMEM;
        r = fd = handoff_open_journal(h, false);
        if (r >= 0)
                r = journal_open(fd, false, &h->journal, f);
        if (r >= 0)
                r = read_journal(h, f);
        if (r < 0 || !name_is_valid(json_str(h->order, "name"))) {
                /* Not even its order was written: then nothing was begun either. */
                directory_remove(h);
                handoff_free(h);
                return failure_set(f, EBADMSG, "its journal holds no order");
        }
        snprintf(h->name, sizeof(h->name), "%s", json_str(h->order, "name"));
        h->check = STREQ(json_str(h->order, "until") ?: "", "check");
        h->state = HANDOFF_ORPHANED;
        handoff_link(h);
        return 0;
}

int handoffs_load(struct daemon *d, struct failure *f)
{
        _cleanup_free_ char *path = file_path(d->runtime, "handoffs");
        struct dirent **names = NULL;
        int n = scandir(path, &names, NULL, alphasort);

        if (n < 0)
                return failure_set(f, errno, "cannot read %s: %s", path, strerror(errno));
        for (int i = 0; i < n; i++) {
                struct failure why = {};

                if (names[i]->d_name[0] != '.' &&
                    strlen(names[i]->d_name) < sizeof(((struct handoff *)0)->id) &&
                    load_one(d, names[i]->d_name, &why) < 0)
                        log_warning("handoff %s is forgotten: %s", names[i]->d_name, why.what);
                free(names[i]);
        }
        free(names);
        return 0;
}

void handoffs_take_fd(struct daemon *d, const char *name, int fd)
{
        for (struct handoff *h = d->handoffs; h; h = h->next)
                if (custody_take_back(&h->custody, name, fd))
                        return;
        custody_forget(name, fd);
}

/* Without the fd store (cprd was stopped, not restarted) a process is found by its pid and start time. */
static void find_process(struct handoff *h, enum custody_kind kind, json_object *from)
{
        int64_t pid = json_int(from, "pid", 0), start_time = json_int(from, "startTime", 0);
        struct process p = PROCESS_NULL;
        struct failure f = {};

        if (custody_get(&h->custody, kind) >= 0 || pid <= 0 || start_time <= 0 ||
            process_open(&p, (pid_t)pid, (uint64_t)start_time, &f) < 0)
                return;
        if (custody_keep(&h->custody, kind, 0, TAKE_FD(p.pidfd), &f) < 0)
                log_full(LOG_WARNING, h->name, h->id, "%s", f.what);
        process_close(&p);
}

void handoffs_resume(struct daemon *d)
{
        struct handoff *next;

        for (struct handoff *h = d->handoffs; h; h = next) {
                next = h->next;
                if (h->state != HANDOFF_ORPHANED)
                        continue;
                if (h->record) {
                        handoff_end(h);
                        continue;
                }
                log_full(LOG_NOTICE, h->name, h->id, "in flight when cprd ended%s%s",
                         h->stage[0] ? ", in stage " : "", h->stage);
                find_process(h, CUSTODY_SOURCE, h->order);
                find_process(h, CUSTODY_DESTINATION, json_obj(h->facts, "destination"));
                handoff_set_timer(h, ORPHAN_WAIT_USEC);
                if (d->helper_look)
                        d->helper_look(d, h->id);
        }
}

void handoffs_free_all(struct daemon *d)
{
        while (d->handoffs) {
                struct handoff *h = d->handoffs;

                handoff_unlink(h);
                handoff_free(h);
        }
}
