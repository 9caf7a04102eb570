/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/stages.h"

#include "common/log.h"
#include "handoff/check.h"
#include "handoff/destination.h"
#include "handoff/fault.h"
#include "handoff/owner.h"
#include "handoff/record.h"
#include "handoff/source.h"
#include "proto/handoff.h"

struct stage {
        const char *name;
        int (*act)(struct handoff *h, struct failure *f);
        int (*undo)(struct handoff *h, struct failure *f); /* NULL: nothing to undo */
        uint64_t deadline;                                 /* µs, for each of both */
};

#define MS USEC_PER_MSEC

/* A live update. Before `commit` every failure walks back up; after it there is only forward. */
static const struct stage stages[] = {
        /* who is it, and what must outlive it */
        {"identify", source_identify, source_forget, 10000 * MS},
        /* can it work? The guest notices nothing of it */
        {"check", check_all, NULL, 20000 * MS},
        /* the destination, at its first instruction, traced, holding the device that the source still owns */
        {"launch", destination_launch, destination_kill, 10000 * MS},
        /* the source sends its fds, and will send its state as soon as the destination is built */
        {"begin", source_begin, source_cancel, 5000 * MS},
        /* the destination builds its machine; what it wants of the device is withheld from the kernel */
        {"build", destination_build, NULL, 30000 * MS},
        /* its QMP answers; the guest stops, and its state moves: here the pause begins */
        {"load", source_load, source_continue, 10000 * MS},
        /* RESET_OWNER in the source */
        {"release", owner_release, owner_take_back, 3000 * MS},
        /* SET_OWNER in the destination, and what was withheld */
        {"claim", owner_claim, owner_give_up, 3000 * MS},
        {"verify", owner_verify, NULL, 3000 * MS},
        /* the guest runs again: here the pause ends */
        {"commit", destination_commit, NULL, 10000 * MS},
        /* the source goes, the destination takes its place under its name */
        {"retire", source_retire, NULL, 10000 * MS},
};

#define NOBODY 65534

enum { N_STAGES = ELEMENTSOF(stages), UNDO_TRIES = 2, FORWARD_TRIES = 3 };

/* ---- one step ---- */

static uint64_t stage_deadline(const struct handoff *h, const struct stage *s)
{
        json_object *configured = json_obj(json_obj(h->order.json, "order"), "deadlines");
        int64_t usec = json_int(configured, s->name, (int64_t)s->deadline);

        return now_usec() + (uint64_t)(usec > 0 ? usec : (int64_t)s->deadline);
}

static int report(struct handoff *h, const struct stage *s, bool undo, uint64_t began,
                  const struct failure *end, struct failure *f)
{
        json_object *o = json_object_new_object();
        uint64_t now = now_usec();
        int r;

        json_add_str(o, "stage", s->name);
        json_add_bool(o, "undo", undo);
        json_add_str(o, "event", end ? "end" : "begin");
        json_add_int(o, "since", (int64_t)(now - h->order.begun));
        if (end) {
                json_add_int(o, "elapsed", (int64_t)(now - began));
                json_add_int(o, "error", end->error);
                json_add_str(o, "reason", end->error ? end->what : NULL);
        }
        r = journal_append(h->journal, "progress", o);
        if (r < 0)
                return failure_set(f, r, "cannot write the journal: %s", strerror(-r));
        /* From the pause's eve on nobody is woken up only to be told: what the journal has by then is told at
         * its end. */
        if (!h->hurried || h->committed || h->undoing)
                link_tell(h, HANDOFF_RECORD, 0, 0, -EBADF);
        return 0;
}

/* One do or undo: named in the journal before it is begun, with its deadline, its fault points, its time. */
static int step(struct handoff *h, const struct stage *s, bool undo, json_object *times, struct failure *f)
{
        struct failure why = {};
        uint64_t began = now_usec();
        int r;

        h->deadline = stage_deadline(h, s);
        r = report(h, s, undo, began, NULL, &why);
        /* The way back is taken even if it cannot be written down, and the way forward from commit on. */
        if (r >= 0 || undo || h->committed)
                r = fault_point(h, undo, s->name, "before", &why);
        if (r >= 0)
                r = (undo ? s->undo : s->act)(h, &why);
        if (r >= 0)
                r = fault_point(h, undo, s->name, "after", &why);
        if (r < 0)
                failure_set(&why, r, "%s", strerror(-r));
        if (times && !undo) {
                json_object *o = json_object_new_object();

                json_add_str(o, "stage", s->name);
                json_add_int(o, "elapsed", (int64_t)(now_usec() - began));
                json_object_array_add(times, o);
        }
        if (report(h, s, undo, began, &why, f) < 0 && !undo && r >= 0)
                return -EIO;
        if (r < 0) {
                log_failure(undo ? LOG_ERR : LOG_WARNING, &why, "%s%s", undo ? "undoing " : "", s->name);
                failure_set(f, r, "%s", why.what);
                failure_remedy(f, "%s", why.remedy);
        }
        return r;
}

/* ---- the ends ---- */

static json_object *finish(struct handoff *h, const char *outcome, json_object *times)
{
        handoff_hurry(h, false);
        if (h->source.cid)
                connections_list(h->source.cid, &h->after);
        return record_make(h, outcome, times);
}

static const char *outcome_on_source(struct handoff *h, size_t from, bool undone)
{
        const bool untouched = STREQ(stages[from].name, "identify") || STREQ(stages[from].name, "check");

        if (untouched && !h->recovering)
                return "refused";
        if (undone || h->source.is_dead)
                return "still_on_source";
        failure_remedy(&h->failure,
                       "look at the VM: its source may be paused; `cont` on its QMP socket starts it");
        return "needs_operator";
}

/* Walks back from the stage that failed. It does not stop at what cannot be undone: the guest comes first. */
static json_object *roll_back(struct handoff *h, size_t from, json_object *times)
{
        bool undone = true;

        h->undoing = true;
        h->failed_stage = stages[from].name;
        for (size_t i = from + 1; i-- > 0;) {
                int r = 0;

                for (int try = 0; stages[i].undo && try < UNDO_TRIES; try++) {
                        struct failure f = {};

                        r = step(h, &stages[i], true, NULL, &f);
                        if (r >= 0 || h->source.is_dead)
                                break;
                }
                /* One that has been killed closes its sockets a moment before its pidfd tells. */
                if (r < 0 && !h->source.is_dead)
                        h->source.is_dead = process_exits(&h->source.process, PROCESS_DYING_MSEC);
                undone = undone && r >= 0;
        }
        return finish(h, outcome_on_source(h, from, undone), times);
}

/* From commit on: each stage again, until it is done or there is nothing left to do it to. */
static json_object *go_forward(struct handoff *h, size_t from, json_object *times)
{
        const char *outcome = "updated";

        for (size_t i = from; i < N_STAGES; i++) {
                struct failure f = {};
                int r = -1;

                for (int try = 0; try < FORWARD_TRIES && r < 0; try++) {
                        f = (struct failure){};
                        if (h->destination.qmp && qmp_error(h->destination.qmp))
                                h->destination.qmp = qmp_free(h->destination.qmp);
                        r = step(h, &stages[i], false, times, &f);
                        if (r < 0 && h->destination.is_dead)
                                break;
                }
                if (r >= 0)
                        continue;
                h->failed_stage = stages[i].name;
                h->failure = f;
                if (!h->destination.is_dead) {
                        outcome = "needs_operator";
                        failure_remedy(&h->failure,
                                       "the destination (process %d) has the guest: see its QMP socket",
                                       h->destination.process.pid);
                }
        }
        return finish(h, outcome, times);
}

static void journal_findings(struct handoff *h)
{
        for (size_t i = 0; h->findings.list && i < json_object_array_length(h->findings.list); i++)
                journal_append(h->journal, "finding",
                               json_object_get(json_object_array_get_idx(h->findings.list, i)));
        connections_list(h->source.cid, &h->before);
}

json_object *stages_run(struct handoff *h)
{
        _cleanup_json_ json_object *times = json_object_new_array();

        for (size_t i = 0; i < N_STAGES; i++) {
                int r = step(h, &stages[i], false, times, &h->failure);

                if (STREQ(stages[i].name, "check") || (i == 0 && r < 0))
                        journal_findings(h);
                if (r < 0 && h->committed) {
                        h->failure = (struct failure){};
                        return go_forward(h, i, times);
                }
                if (r < 0)
                        return roll_back(h, i, times);
                if (h->order.only_check && STREQ(stages[i].name, "check")) {
                        source_forget(h, NULL);
                        return record_make(h, "still_on_source", times);
                }
        }
        return finish(h, "updated", times);
}

/* ---- recovery ---- */

static size_t stage_index(const char *name)
{
        for (size_t i = 0; i < N_STAGES; i++)
                if (STREQ(stages[i].name, name ?: ""))
                        return i;
        return 0;
}

static void take_source_fact(struct source *s, json_object *o)
{
        s->device_fd = (int)json_int(o, "deviceFd", -1);
        s->cid = (uint32_t)json_int(o, "cid", 0);
        s->uid = (uid_t)json_int(o, "uid", NOBODY);
        s->gid = (gid_t)json_int(o, "gid", NOBODY);
        s->version = strdup(json_str(o, "version") ?: "0");
        s->machine = strdup(json_str(o, "machine") ?: "");
        s->exe = strdup(json_str(o, "binary") ?: "");
}

static void take_listeners_fact(struct destination *d, json_object *list)
{
        struct cmdline_facts *facts = &d->facts;

        d->has_listeners = true;
        facts->n_listeners = 0;
        for (size_t i = 0; list && i < json_object_array_length(list) && i < LISTENERS_MAX; i++)
                facts->listeners[facts->n_listeners++] = (struct listener){
                        .path = strdup(json_object_get_string(json_object_array_get_idx(list, i))),
                        .fd = -EBADF,
                };
}

/* Comes twice, from check and from launch; only the first has the version. */
static void take_destination_fact(struct destination *d, json_object *o)
{
        if (!d->binary)
                d->binary = strdup(json_str(o, "binary") ?: "");
        if (json_object_object_get_ex(o, "oomScoreAdj", NULL))
                d->oom_score_adj = (int)json_int(o, "oomScoreAdj", 0);
        if (!d->version && json_str(o, "version"))
                d->version = strdup(json_str(o, "version"));
}

static void take_fact(struct handoff *h, json_object *fact)
{
        json_object *o;

        if ((o = json_obj(fact, "source")))
                take_source_fact(&h->source, o);
        if ((o = json_arr(fact, "listeners")))
                take_listeners_fact(&h->destination, o);
        if ((o = json_arr(fact, "connectionsBefore"))) {
                connections_done(&h->before);
                h->before = (struct connections){json_object_get(o), json_object_array_length(o)};
        }
        if ((o = json_obj(fact, "destination")))
                take_destination_fact(&h->destination, o);
        if ((o = json_obj(fact, "heap"))) {
                h->destination.heap_address = (uint64_t)json_int(o, "address", 0);
                h->destination.heap_size = (uint64_t)json_int(o, "size", 0);
        }
        h->loaded = h->loaded || json_flag(fact, "loaded");
        h->committed = h->committed || json_flag(fact, "committed");
        h->replaced = h->replaced || json_flag(fact, "replaced");
}

/* Reads what the dead one wrote. Returns the stage it had begun last; N_STAGES: it had come to its end. */
static size_t read_journal(struct handoff *h)
{
        size_t last = 0;

        for (;;) {
                _cleanup_json_ json_object *line = NULL;
                json_object *progress;

                if (journal_next(h->journal, &line, NULL) <= 0)
                        return last;
                if (json_obj(line, "record"))
                        return N_STAGES;
                if (json_obj(line, "fact"))
                        take_fact(h, json_obj(line, "fact"));
                progress = json_obj(line, "progress");
                /* Undoing goes back in the table, and what it has undone it can undo again. */
                if (progress && !json_flag(progress, "undo"))
                        last = stage_index(json_str(progress, "stage"));
        }
}

json_object *stages_recover(struct handoff *h)
{
        _cleanup_json_ json_object *times = json_object_new_array();
        size_t last = read_journal(h);

        if (last == N_STAGES)
                return NULL;
        h->recovering = true;
        h->source.tracee.process = &h->source.process;
        h->source.is_dead = h->source.process.pidfd < 0;
        h->destination.is_dead = h->destination.process.pidfd < 0;
        if (asprintf(&h->destination.directory, HANDOFF_DIRECTORY "/%s/channel", h->order.id) < 0)
                abort();
        owner_find(h, NULL);
        log_warning("recovering: the handoff was interrupted in %s", stages[last].name);
        if (h->committed)
                return go_forward(h, stage_index("commit"), times);
        failure_set(&h->failure, EOWNERDEAD, "cprd-handoff died in this stage");
        return roll_back(h, last, times);
}
