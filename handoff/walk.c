/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"
#include "handoff/fault.h"
#include "handoff/record.h"
#include "handoff/recovery.h"
#include "handoff/stages.h"

enum { UNDO_TRIES = 2, FORWARD_TRIES = 3 };

/* One walk from its beginning to its end. */
struct walker {
        const struct walk *walk;
        struct handoff *h;
        json_object *times; /* owned: array of StageTime */
        bool undoing;
};

static void walker_done(struct walker *w)
{
        json_object_put(w->times);
}

/* ---- one step ---- */

static uint64_t stage_deadline(const struct handoff *h, const struct stage *s)
{
        json_object *configured = json_obj(json_obj(h->order.json, "order"), "deadlines");
        int64_t usec = json_int(configured, s->name, (int64_t)s->deadline);

        return now_usec() + (uint64_t)(usec > 0 ? usec : (int64_t)s->deadline);
}

static json_object *progress(struct walker *w, const struct stage *s, uint64_t began,
                             const struct failure *end)
{
        json_object *o = json_object_new_object();
        uint64_t now = now_usec();

        json_add_str(o, "stage", s->name);
        json_add_bool(o, "undo", w->undoing);
        json_add_bool(o, "cancellable", !w->undoing && (s->flags & CANCELLABLE) && !(s->flags & COMMITS));
        json_add_str(o, "event", end ? "end" : "begin");
        json_add_int(o, "since", (int64_t)(now - w->h->order.begun));
        if (end) {
                json_add_int(o, "elapsed", (int64_t)(now - began));
                json_add_int(o, "error", end->error);
                json_add_str(o, "reason", end->error ? end->what : NULL);
        }
        return o;
}

/* The journal first. cprd is told too, but not while the guest waits: it reads the journal after the pause.
 * @end NULL: the step begins. */
static int report(struct walker *w, const struct stage *s, uint64_t began, const struct failure *end,
                  struct failure *f)
{
        struct handoff *h = w->h;
        int r = journal_append(h->journal, "progress", progress(w, s, began, end));

        if (r < 0)
                return failure_set(f, r, "cannot write the journal: %s", strerror(-r));
        if (!h->hurried)
                link_tell(&h->link, HANDOFF_RECORD, 0, 0, -EBADF);
        return 0;
}

static void add_time(struct walker *w, const struct stage *s, uint64_t began)
{
        json_object *o = json_object_new_object();

        json_add_str(o, "stage", s->name);
        json_add_int(o, "elapsed", (int64_t)(now_usec() - began));
        json_object_array_add(w->times, o);
}

static int act(struct walker *w, const struct stage *s, uint64_t began, struct failure *f)
{
        struct handoff *h = w->h;
        int r;

        h->step = (struct step){.flags = w->undoing ? 0 : s->flags, .deadline = stage_deadline(h, s)};
        handoff_hurry(h, h->step.flags & COUNTS_PAUSE);
        r = report(w, s, began, NULL, f);
        /* Rolling back goes on even if it cannot be written down, and so does going forward after commit. */
        if (r >= 0 || w->undoing || h->facts.committed)
                r = fault_point(h, w->undoing, s->name, "before", f);
        if (r >= 0)
                r = (w->undoing ? s->undo : s->act)(h, f);
        if (r >= 0)
                r = fault_point(h, w->undoing, s->name, "after", f);
        return r < 0 ? failure_set(f, r, "%s", strerror(-r)) : 0;
}

/* One do or undo: named in the journal before it begins, with its deadline, its fault points, its time. */
static int step(struct walker *w, const struct stage *s, struct failure *f)
{
        struct failure why = {};
        uint64_t began = now_usec();
        int r = act(w, s, began, &why);

        if (r >= 0)
                why = (struct failure){};
        if (!w->undoing)
                add_time(w, s, began);
        if (report(w, s, began, &why, f) < 0 && !w->undoing && r >= 0 && !w->h->facts.committed)
                return -EIO;
        if (r < 0) {
                log_failure(w->undoing ? LOG_ERR : LOG_WARNING, &why, "%s%s", w->undoing ? "undoing " : "",
                            s->name);
                failure_pass(f, &why);
        }
        return r;
}

/* ---- the ends ---- */

static json_object *finish(struct walker *w, const char *outcome)
{
        struct handoff *h = w->h;

        handoff_hurry(h, false);
        if (h->facts.source.cid)
                connections_list((uint32_t)h->facts.source.cid, CONNECTIONS_ESTABLISHED, &h->after);
        return record_make(h, outcome, w->times);
}

static const char *outcome_on_source(struct walker *w, size_t from, bool undone)
{
        struct handoff *h = w->h;

        if ((w->walk->stages[from].flags & TOUCHES_NOTHING) && !h->recovering)
                return "refused";
        if (undone || h->source.is_dead)
                return "still_on_source";
        failure_remedy(&h->failure, "look at the VM: its source may be paused; `cont` on its QMP socket "
                                    "starts it");
        return "needs_operator";
}

static int undo(struct walker *w, const struct stage *s)
{
        struct handoff *h = w->h;
        int r = 0;

        for (int try = 0; s->undo && try < UNDO_TRIES; try++) {
                struct failure f = {};

                r = step(w, s, &f);
                if (r >= 0 || h->source.is_dead)
                        return r;
        }
        /* A process that has been killed closes its sockets a moment before its pidfd tells. */
        if (r < 0)
                h->source.is_dead = process_exits(&h->source.process, PROCESS_DYING_MSEC);
        return r;
}

/* Walks back from the stage that failed. It does not stop at what cannot be undone: the guest comes first. */
static json_object *roll_back(struct walker *w, size_t from)
{
        bool undone = true;

        w->undoing = true;
        w->h->failed_stage = w->walk->stages[from].name;
        for (size_t i = from + 1; i-- > 0;)
                undone = undo(w, &w->walk->stages[i]) >= 0 && undone;
        return finish(w, outcome_on_source(w, from, undone));
}

static int redo(struct walker *w, const struct stage *s, struct failure *f)
{
        struct handoff *h = w->h;
        int r = -1;

        for (int try = 0; try < FORWARD_TRIES && r < 0 && h->facts.committed; try++) {
                *f = (struct failure){};
                if (h->destination.qmp && qmp_error(h->destination.qmp))
                        h->destination.qmp = qmp_free(h->destination.qmp);
                r = step(w, s, f);
                if (r < 0 && h->destination.is_dead)
                        break;
        }
        return r;
}

/* After commit: each stage is retried until it is done or there is nothing left to do it to. A commit that
 * QEMU refused is none (destination.c), and is rolled back after all. */
static json_object *go_forward(struct walker *w, size_t from)
{
        struct handoff *h = w->h;
        const char *outcome = "updated";

        for (size_t i = from; i < w->walk->n; i++) {
                struct failure f = {};
                int r = redo(w, &w->walk->stages[i], &f);

                if (r >= 0)
                        continue;
                h->failed_stage = w->walk->stages[i].name;
                h->failure = f;
                if (!h->facts.committed)
                        return roll_back(w, i);
                if (h->destination.is_dead)
                        continue;
                outcome = "needs_operator";
                failure_remedy(&h->failure, "the destination (process %d) has the guest: see its QMP socket",
                               (int)h->facts.destination.pid);
        }
        return finish(w, outcome);
}

/* ---- forward ---- */

static void journal_findings(struct handoff *h)
{
        for (size_t i = 0; h->findings.list && i < json_object_array_length(h->findings.list); i++)
                journal_append(h->journal, "finding",
                               json_object_get(json_object_array_get_idx(h->findings.list, i)));
        connections_list((uint32_t)h->facts.source.cid, CONNECTIONS_ESTABLISHED, &h->before);
}

/* It was to end here, having changed nothing: what was done so far is undone. */
static json_object *end_early(struct walker *w, size_t at)
{
        bool undone = true;

        w->undoing = true;
        for (size_t i = at + 1; i-- > 0;)
                undone = undo(w, &w->walk->stages[i]) >= 0 && undone;
        return finish(w, undone ? w->walk->stages[at].outcome : outcome_on_source(w, at, undone));
}

json_object *walk_run(const struct walk *walk, struct handoff *h)
{
        _cleanup_(walker_done) struct walker w = {.walk = walk, .h = h, .times = json_object_new_array()};

        for (size_t i = 0; i < walk->n; i++) {
                const struct stage *s = &walk->stages[i];
                int r = step(&w, s, &h->failure);

                if ((s->flags & ENDS_CHECKS) || (i == 0 && r < 0))
                        journal_findings(h);
                if (r < 0 && h->facts.committed) {
                        h->failure = (struct failure){};
                        return go_forward(&w, i);
                }
                if (r < 0)
                        return roll_back(&w, i);
                if (s->outcome && h->order.until && STREQ(h->order.until, s->name))
                        return end_early(&w, i);
        }
        return finish(&w, "updated");
}

/* ---- recovery ---- */

static size_t stage_index(const struct walk *w, const char *name)
{
        for (size_t i = 0; i < w->n; i++)
                if (STREQ(w->stages[i].name, name ?: ""))
                        return i;
        return 0;
}

/* Reads what the dead one wrote. Returns the stage it began last; walk->n: it had ended. */
static size_t read_journal(const struct walk *walk, struct handoff *h)
{
        size_t last = 0;

        for (;;) {
                _cleanup_json_ json_object *line = NULL;
                json_object *told;

                if (journal_next(h->journal, &line, NULL) <= 0)
                        return last;
                if (json_obj(line, "record"))
                        return walk->n;
                if (json_obj(line, "fact"))
                        facts_take(&h->facts, json_obj(line, "fact"));
                told = json_obj(line, "progress");
                /* Undoing moves back in the table, and what it has undone can be undone again. */
                if (told && !json_flag(told, "undo"))
                        last = stage_index(walk, json_str(told, "stage"));
        }
}

static size_t committing_stage(const struct walk *walk)
{
        size_t i = 0;

        while (i + 1 < walk->n && !(walk->stages[i].flags & COMMITS))
                i++;
        return i;
}

json_object *walk_recover(const struct walk *walk, struct handoff *h)
{
        _cleanup_(walker_done) struct walker w = {.walk = walk, .h = h, .times = json_object_new_array()};
        size_t last = read_journal(walk, h);

        if (last == walk->n)
                return NULL;
        recovery_begin(h);
        log_warning("recovering: the handoff was interrupted in %s", walk->stages[last].name);
        if (h->facts.committed)
                return go_forward(&w, committing_stage(walk));
        failure_set(&h->failure, EOWNERDEAD, "cprd-handoff died in this stage");
        return roll_back(&w, last);
}
