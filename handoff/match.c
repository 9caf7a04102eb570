/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

#include "handoff/fault.h"
#include "handoff/heap.h"
#include "handoff/placement.h"
#include "handoff/resources.h"
#include "handoff/takeover.h"
#include "handoff/wait.h"

#include <stdarg.h>

/* Short, since QEMU reads byte by byte. */
static const struct {
        const char *command, *key, *value;
} questions[N_MATCH_QUESTIONS] = {
        [MATCH_QTREE] = {"human-monitor-command", "command-line", "info qtree"},
        [MATCH_RAM_BLOCKS] = {"human-monitor-command", "command-line", "info ramblock"},
        [MATCH_NETWORK] = {"human-monitor-command", "command-line", "info network"},
        [MATCH_MEMDEV] = {"query-memdev"},
        [MATCH_DIMMS] = {"query-memory-devices"},
        [MATCH_CPUS] = {"query-hotpluggable-cpus"},
        [MATCH_IOTHREADS] = {"query-iothreads"},
        [MATCH_BLOCK] = {"query-block"},
        [MATCH_NODES] = {"query-named-block-nodes"},
        [MATCH_JOBS] = {"query-jobs"},
        [MATCH_EXPORTS] = {"query-block-exports"},
        [MATCH_CHARDEVS] = {"query-chardev"},
        [MATCH_TPM] = {"query-tpm"},
        [MATCH_AUDIO] = {"query-audiodevs"},
        [MATCH_KVM] = {"query-kvm"},
        [MATCH_FDSETS] = {"query-fdsets"},
        [MATCH_UUID] = {"query-uuid"},
        [MATCH_OBJECTS] = {"qom-list", "path", "/objects"},
        [MATCH_GRAPH] = {"x-debug-query-block-graph"},
        [MATCH_VIRTIO] = {"x-query-virtio"},
};

static int (*const comparisons[])(struct match *m, struct failure *f) = {
        match_machine, match_memory, match_devices, match_queues, match_block,
        match_network, match_lists,  match_objects, match_fdsets,
};

void match_differs(struct match *m, const char *id, const char *remedy, const char *what, ...)
{
        json_object *list, *finding;
        char text[400];
        va_list ap;

        if (m->n_differences++ >= MATCH_FINDINGS_MAX)
                return;
        va_start(ap, what);
        vsnprintf(text, sizeof(text), what, ap);
        va_end(ap);
        finding_block(&m->h->findings, id, remedy, "%s", text);
        list = m->h->findings.list;
        finding = json_object_array_get_idx(list, json_object_array_length(list) - 1);
        journal_append(m->h->journal, "finding", json_object_get(finding));
        failure_set(m->f, EXDEV, "the destination is not the source's twin: %s: %s", id, text);
        failure_remedy(m->f, "%s", remedy);
}

static json_object *typed(json_object *o, json_type type)
{
        return json_object_is_type(o, type) ? o : NULL;
}

bool match_pair(struct match *m, const char *id, const char *what, const struct qmp_question *source,
                const struct qmp_question *destination, json_type type, json_object **ret_source,
                json_object **ret_destination)
{
        json_object *a = typed(source->reply, type), *b = typed(destination->reply, type);
        const struct qmp_question *silent = a ? destination : source;

        *ret_source = a;
        *ret_destination = b;
        if (a && b)
                return true;
        if (a || b || !source->error || !destination->error)
                match_differs(m, id, "use a destination of the same series", "%s: the %s does not tell: %s",
                              what, a ? "destination" : "source", silent->error ?: "it answers strangely");
        return false;
}

bool match_answers(struct match *m, enum match_question question, json_type type, json_object **ret_source,
                   json_object **ret_destination)
{
        const char *command = questions[question].value ?: questions[question].command;

        return match_pair(m, "twin", command, &m->source[question], &m->destination[question], type,
                          ret_source, ret_destination);
}

static void make_questions(struct qmp_question *ret)
{
        for (size_t i = 0; i < N_MATCH_QUESTIONS; i++)
                ret[i] = (struct qmp_question){
                        .command = questions[i].command,
                        .arguments = questions[i].key
                                             ? qmp_arguments(questions[i].key, questions[i].value, NULL)
                                             : NULL,
                };
        /* Without the backing chain of each node once more. */
        ret[MATCH_NODES].arguments = json_object_new_object();
        json_add_bool(ret[MATCH_NODES].arguments, "flat", true);
}

/* Experimental commands go to the destination first, which may die of them. */
static int ask_both(struct match *m, struct failure *f)
{
        int r;

        make_questions(m->source);
        make_questions(m->destination);
        r = wait_answers(m->h, m->source, MATCH_GRAPH, m->destination, N_MATCH_QUESTIONS, f);
        return r < 0 ? r
                     : wait_answers(m->h, &m->source[MATCH_GRAPH], N_MATCH_QUESTIONS - MATCH_GRAPH, NULL, 0,
                                    f);
}

static void match_done(struct match *m)
{
        for (size_t i = 0; i < N_MATCH_QUESTIONS; i++) {
                qmp_question_done(&m->source[i]);
                qmp_question_done(&m->destination[i]);
        }
}

int match_compare(struct handoff *h, struct failure *f)
{
        _cleanup_(match_done) struct match m = {.h = h};
        struct failure first = {};
        int r;

        /* The control experiment of the tests: what is lost without it. */
        if (fault_is_set(h, "no-match"))
                return 0;
        m.f = &first;
        r = ask_both(&m, f);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(comparisons); i++)
                r = comparisons[i](&m, f);
        if (r >= 0 && m.n_differences) {
                r = failure_set(f, EXDEV, "%s%s", first.what, m.n_differences > 1 ? " (and more)" : "");
                failure_remedy(f, "%s", first.remedy);
        }
        return r < 0 ? r : 0;
}

int match_twin(struct handoff *h, struct failure *f)
{
        int r = match_compare(h, f);

        if (r >= 0)
                r = resources_match(h, f);
        if (r >= 0)
                r = placement_carry_over(h, f);
        if (r >= 0)
                r = takeover_prepare(h, f);
        return r < 0 ? r : heap_lock(h, f);
}
