/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The engine that walks the stages, on a table of its own: every stage fails, cannot be undone, or loses one
 * of the QEMUs, and every prefix of a journal is recovered from. What a stage has done is a bit of `world`,
 * so that what is left behind can be seen.
 */

#include "common/file.h"
#include "handoff/stages.h"
#include "test.h"

#include <fcntl.h>

enum { LOOK, TAKE, PAUSE, COMMIT, TIDY, N };

static struct world {
        unsigned done;          /* one bit per stage */
        unsigned fails;         /* …whose act fails */
        unsigned undo_fails;    /* …whose undo fails every time */
        unsigned undo_stumbles; /* …whose undo fails once */
        int kills_source_in, kills_destination_in;
        bool refuses_commit; /* the commit is undone, as when QEMU refuses `cont` */
        int undone[32], n_undone;
} world;

static int die_or_fail(struct handoff *h, int stage)
{
        if (world.kills_source_in == stage)
                h->source.is_dead = true;
        if (world.kills_destination_in == stage)
                h->destination.is_dead = true;
        return world.kills_source_in == stage || world.kills_destination_in == stage ? -ESRCH : 0;
}

static int act(struct handoff *h, int stage)
{
        EXPECT(h->step.deadline > now_usec());
        if (stage == COMMIT && !h->facts.committed && !(world.fails & 1U << stage)) {
                h->facts.committed = true;
                handoff_note(h, "committed", NULL);
                if (world.refuses_commit) {
                        h->facts.committed = false;
                        handoff_note(h, "committed", NULL);
                        return -EREMOTEIO;
                }
        }
        if (die_or_fail(h, stage) < 0)
                return -ESRCH;
        if (world.fails & 1U << stage)
                return -EIO;
        world.done |= 1U << stage;
        return 0;
}

static int undo(struct handoff *h, int stage)
{
        EXPECT(h->step.flags == 0);
        world.undone[world.n_undone++ % 32] = stage;
        if (world.undo_fails & 1U << stage)
                return -EIO;
        if (world.undo_stumbles & 1U << stage) {
                world.undo_stumbles &= ~(1U << stage);
                return -EAGAIN;
        }
        world.done &= ~(1U << stage);
        return 0;
}

#define STAGE(name, number)                                                                                  \
        static int act_##name(struct handoff *h, struct failure *f)                                          \
        {                                                                                                    \
                int r = act(h, number);                                                                      \
                return r < 0 ? failure_set(f, r, "%s", #name) : 0;                                           \
        }                                                                                                    \
        static int undo_##name(struct handoff *h, struct failure *f)                                         \
        {                                                                                                    \
                return undo(h, number);                                                                      \
        }
STAGE(look, LOOK)
STAGE(take, TAKE)
STAGE(pause, PAUSE)
STAGE(commit, COMMIT)
STAGE(tidy, TIDY)

static const struct stage table[N] = {
        {"look", act_look, undo_look, USEC_PER_SEC, TOUCHES_NOTHING | ENDS_CHECKS | CANCELLABLE, "checked"},
        {"take", act_take, undo_take, USEC_PER_SEC, NEEDS_SOURCE | CANCELLABLE},
        {"pause", act_pause, undo_pause, USEC_PER_SEC, COUNTS_PAUSE | CANCELLABLE},
        {"commit", act_commit, undo_commit, USEC_PER_SEC, COUNTS_PAUSE | COMMITS},
        {"tidy", act_tidy, undo_tidy, USEC_PER_SEC, 0},
};
static const struct walk walk = {table, N};

/* ---- one handoff ---- */

static char journal_path[] = "/tmp/test-walk-XXXXXX";

static struct handoff *new_handoff(int flags)
{
        struct handoff *h = handoff_new("test");
        struct failure f = {};

        h->order.name = "web1";
        h->order.caller = "test";
        h->order.begun = now_usec();
        h->order.max_pause = USEC_PER_SEC;
        EXPECT(journal_open(open(journal_path, O_RDWR | flags), true, &h->journal, &f) >= 0);
        return h;
}

static void reset(void)
{
        world = (struct world){.kills_source_in = -1, .kills_destination_in = -1};
}

/* Walks the world as it is set up; the record must say @outcome and, if not NULL, @stage. */
static void expect(const char *outcome, const char *stage, unsigned done)
{
        _cleanup_(handoff_freep) struct handoff *h = new_handoff(O_TRUNC);
        _cleanup_json_ json_object *record = walk_run(&walk, h);

        EXPECT_STR(json_str(record, "outcome"), outcome);
        if (stage)
                EXPECT_STR(json_str(record, "stage"), stage);
        EXPECT(world.done == done);
}

static void test_forward(void)
{
        reset();
        expect("updated", NULL, (1U << N) - 1);
}

static void test_failures(void)
{
        for (int stage = LOOK; stage <= COMMIT; stage++) {
                reset();
                world.fails = 1U << stage;
                expect(stage == LOOK ? "refused" : "still_on_source", table[stage].name, 0);
                EXPECT(world.n_undone == stage + 1);
                for (int i = 0; i < world.n_undone; i++)
                        EXPECT(world.undone[i] == stage - i); /* from the one that failed, backwards */
        }
        /* From commit on it is retried; what cannot be tidied up is left to an operator. */
        reset();
        world.fails = 1U << TIDY;
        expect("needs_operator", "tidy", (1U << TIDY) - 1);
        EXPECT(world.n_undone == 0);
}

static void test_failing_undo(void)
{
        for (int stage = TAKE; stage <= PAUSE; stage++) {
                reset();
                world.fails = 1U << COMMIT;
                world.undo_stumbles = 1U << stage;
                expect("still_on_source", "commit", 0);
                reset();
                world.fails = 1U << COMMIT;
                world.undo_fails = 1U << stage;
                expect("needs_operator", "commit", 1U << stage); /* all others were undone */
        }
}

static void test_refused_commit(void)
{
        reset();
        world.refuses_commit = true;
        expect("still_on_source", "commit", 0);
}

static void test_deaths(void)
{
        for (int stage = LOOK; stage <= COMMIT; stage++) {
                reset();
                world.kills_source_in = stage;
                world.undo_fails = (1U << N) - 1; /* a dead source cannot be queried */
                if (stage < COMMIT)
                        expect(stage == LOOK ? "refused" : "still_on_source", table[stage].name,
                               (1U << stage) - 1);
        }
        for (int stage = TAKE; stage < COMMIT; stage++) {
                reset();
                world.kills_destination_in = stage;
                expect("still_on_source", table[stage].name, 0);
        }
        /* A destination that dies after the commit is gone: nothing is left to do, and nobody to call. */
        reset();
        world.kills_destination_in = TIDY;
        expect("updated", "tidy", (1U << TIDY) - 1);
}

static void test_end_early(void)
{
        _cleanup_(handoff_freep) struct handoff *h = new_handoff(O_TRUNC);
        _cleanup_json_ json_object *record = NULL;

        reset();
        h->order.until = "look";
        record = walk_run(&walk, h);
        EXPECT_STR(json_str(record, "outcome"), "checked");
        EXPECT(world.done == 0);
}

/* ---- recovery ---- */

/* The stages that ended according to a journal's first @size bytes, and whether it is committed. */
static unsigned read_prefix(char *text, bool *ret_committed, bool *ret_ended, int *ret_begun)
{
        unsigned done = 0;
        char *rest = text;

        *ret_committed = *ret_ended = false;
        *ret_begun = 0;
        for (char *line; (line = strsep(&rest, "\n")) && *line;) {
                _cleanup_json_ json_object *o = json_tokener_parse(line);
                json_object *p = json_obj(o, "progress");

                *ret_committed = *ret_committed || json_flag(json_obj(o, "fact"), "committed");
                *ret_ended = *ret_ended || json_obj(o, "record");
                for (int i = 0; p && i < N; i++)
                        if (STREQ(json_str(p, "stage"), table[i].name)) {
                                *ret_begun = i;
                                done |= STREQ(json_str(p, "event"), "end") ? 1U << i : 0;
                        }
        }
        return done;
}

static void recover(const char *text, size_t size, bool begun_was_done)
{
        _cleanup_(handoff_freep) struct handoff *h = NULL;
        _cleanup_json_ json_object *record = NULL;
        _cleanup_free_ char *prefix = text_copy_part(text, size);
        bool committed, ended;
        int begun, fd = open(journal_path, O_WRONLY | O_TRUNC);

        EXPECT(write(fd, text, size) == (ssize_t)size);
        close(fd);
        reset();
        world.done = read_prefix(prefix, &committed, &ended, &begun);
        if (begun_was_done)
                world.done |= 1U << begun;
        h = new_handoff(0);
        record = walk_recover(&walk, h);
        if (ended) {
                EXPECT(!record);
                return;
        }
        EXPECT_STR(json_str(record, "outcome"), committed ? "updated" : "still_on_source");
        EXPECT(world.done == (committed ? (1U << N) - 1 : 0));
}

static void test_recovery(void)
{
        _cleanup_(handoff_freep) struct handoff *h = new_handoff(O_TRUNC);
        _cleanup_free_ char *text = NULL;
        size_t size, n = 0;

        reset();
        journal_append(h->journal, "record", walk_run(&walk, h));
        EXPECT(file_read(AT_FDCWD, journal_path, 1U << 20, &text, &size) >= 0);
        /* Each line, whole and torn. */
        for (size_t at = 0; at < size; at = (size_t)(strchr(text + at, '\n') + 1 - text), n++) {
                recover(text, at, false);
                recover(text, at, true);
                recover(text, at + 5, false);
        }
        recover(text, size, false);
        EXPECT(n > 2 * N);
}

int main(void)
{
        EXPECT(mkstemp(journal_path) >= 0);
        TEST(test_forward);
        TEST(test_failures);
        TEST(test_failing_undo);
        TEST(test_refused_commit);
        TEST(test_deaths);
        TEST(test_end_early);
        TEST(test_recovery);
        unlink(journal_path);
        return 0;
}
