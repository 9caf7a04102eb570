/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/migration.h"

#include "common/log.h"
#include "handoff/destination.h"
#include "handoff/holes.h"
#include "handoff/resources.h"
#include "handoff/runstate.h"
#include "handoff/settings.h"
#include "handoff/source.h"
#include "handoff/takeover.h"
#include "handoff/wait.h"

/* How long a source may take to continue its guest by itself after its migration has failed. */
#define SELF_CONTINUE_USEC (3 * USEC_PER_SEC)

/* ---- questions ---- */

struct migration_state {
        char status[32]; /* "none": there has been no migration */
        char reason[256];
};

static int query_migrate(struct handoff *h, struct migration_state *ret, struct failure *f)
{
        _cleanup_json_ json_object *reply = NULL;
        int r = wait_qmp(h, h->source.qmp, "query-migrate", NULL, &reply, f);

        if (r < 0)
                return r;
        snprintf(ret->status, sizeof(ret->status), "%s", json_str(reply, "status") ?: "none");
        snprintf(ret->reason, sizeof(ret->reason), "%s", json_str(reply, "error-desc") ?: "no reason given");
        return 0;
}

bool migration_is_over(const char *status)
{
        return STREQ(status, "none") || STREQ(status, "completed") || STREQ(status, "failed") ||
               STREQ(status, "cancelled");
}

struct run_state {
        bool running;
        char name[32];
};

static int query_status(struct handoff *h, struct run_state *ret, struct failure *f)
{
        _cleanup_json_ json_object *reply = NULL;
        int r = wait_qmp(h, h->source.qmp, "query-status", NULL, &reply, f);

        if (r < 0)
                return r;
        ret->running = json_flag(reply, "running");
        snprintf(ret->name, sizeof(ret->name), "%s", json_str(reply, "status") ?: "unknown");
        return 0;
}

static int require_running(struct handoff *h, struct failure *f)
{
        struct run_state state;
        int r = query_status(h, &state, f);

        return r < 0 || state.running ? r : runstate_note(h, state.name, f);
}

/* ---- begin ---- */

/* Takes over the path. */
static json_object *channel(const char *type, char *path)
{
        json_object *o = json_object_new_object(),
                    *address = qmp_arguments("transport", "socket", "type", "unix", "path", path, NULL);

        free(path);
        json_add_str(o, "channel-type", type);
        json_add(o, "addr", address);
        return o;
}

static json_object *migrate_arguments(const struct handoff *h)
{
        json_object *o = json_object_new_object(), *channels = json_object_new_array();

        json_object_array_add(channels, channel("main", channels_main_path(&h->destination.channels)));
        json_object_array_add(channels, channel("cpr", text_copy(h->relay.path)));
        json_add(o, "channels", channels);
        return o;
}

/* Somebody else's migration is neither cancelled nor followed by `cont`, so it must be known whose it is. */
static int require_no_migration(struct handoff *h, struct failure *f)
{
        struct migration_state state;
        int r = query_migrate(h, &state, f);

        if (r < 0 || migration_is_over(state.status))
                return r;
        failure_set(f, EBUSY, "somebody else has begun a migration (%s)", state.status);
        return failure_remedy(f, "wait for its end, or cancel it");
}

static int migrate(struct handoff *h, struct failure *f)
{
        int r;

        h->facts.migration.asked = true;
        r = handoff_note(h, "migration", f);
        if (r < 0)
                return r;
        h->source.events = 1 + qmp_event_count(h->source.qmp);
        r = wait_qmp(h, h->source.qmp, "migrate", migrate_arguments(h), NULL, f);
        if (r == -EREMOTEIO) { /* refused: if a migration is running, it is not ours */
                h->facts.migration.asked = false;
                handoff_note(h, "migration", NULL);
        }
        return r;
}

int migration_begin(struct handoff *h, struct failure *f)
{
        const struct relay_ends ends = {
                .source = h->source.process.pid,
                .destination = h->destination.process.pid,
                .uid = (uid_t)h->facts.source.uid,
                .gid = (gid_t)h->facts.source.gid,
                .cpr_path = channels_cpr_path(&h->destination.channels),
        };
        int r = relay_listen(&h->relay, &ends, f);

        if (r >= 0)
                r = require_no_migration(h, f);
        if (r >= 0)
                r = require_running(h, f);
        if (r >= 0)
                r = settings_prepare(h, f);
        if (r >= 0)
                r = holes_fill(h, f);
        return r < 0 ? r : migrate(h, f);
}

/* ---- load ---- */

/* Tells by the event alone: the guest is paused, and every query would cost it a round trip. */
static int has_completed(struct handoff *h, void *userdata)
{
        const char *status = qmp_migration_status(h->source.qmp, h->source.events - 1) ?: "";

        if (STREQ(status, "failed") || STREQ(status, "cancelled"))
                return -EREMOTEIO;
        return STREQ(status, "completed") ? 1 : qmp_error(h->source.qmp);
}

static int explain_failure(struct handoff *h, struct failure *f)
{
        struct migration_state state = {.reason = "no reason given"};

        /* The destination knows best. The guest does not wait for it: its source resumes by itself. */
        obituary_await(&h->destination.obituary, &h->destination.tracee, 3000, f);
        query_migrate(h, &state, NULL);
        return failure_set(f, EREMOTEIO, "the migration failed: %s", state.reason);
}

int migration_load(struct handoff *h, struct failure *f)
{
        int r = resources_part(h, f);

        if (r >= 0)
                r = require_running(h, f);
        if (r >= 0)
                r = wait_look(h, f); /* a STOP that came before the answer */
        if (r < 0)
                return r;
        relay_hang_up(&h->relay);
        r = wait_until(h, has_completed, NULL, f);
        if (r == -EREMOTEIO)
                return explain_failure(h, f);
        if (r < 0)
                return r;
        if (!h->pause_began)
                return failure_set(f, EPROTO,
                                   "the migration completed, but the source never said that it stopped");
        takeover_ask(h);
        h->facts.migration.loaded = true;
        return handoff_note(h, "migration", f);
}

/* ---- the way back ---- */

/* Waits for the end of any migration, from one MIGRATION event to the next. */
static int end_migration(struct handoff *h, struct failure *f)
{
        struct migration_state state;
        uint64_t seen = qmp_event_count(h->source.qmp);
        int r = h->facts.migration.asked ? query_migrate(h, &state, f) : 0;

        if (r < 0 || !h->facts.migration.asked || migration_is_over(state.status))
                return r;
        if (!STREQ(state.status, "cancelling"))
                r = wait_qmp(h, h->source.qmp, "migrate_cancel", NULL, NULL, f);
        while (r >= 0) {
                r = query_migrate(h, &state, f);
                if (r < 0 || migration_is_over(state.status))
                        break;
                r = wait_event(h, h->source.qmp, "MIGRATION", seen, NULL, f);
                seen = qmp_event_count(h->source.qmp);
        }
        return r;
}

static int has_resumed(struct handoff *h, void *userdata)
{
        uint64_t *seen = userdata;
        json_object *event = qmp_event(h->source.qmp, "RESUME", *seen, NULL);

        if (event)
                h->resume_usec = qmp_event_usec(event);
        return event ? 1 : qmp_error(h->source.qmp);
}

static int set_running(struct handoff *h, struct failure *f)
{
        uint64_t seen = qmp_event_count(h->source.qmp);
        int r = wait_qmp(h, h->source.qmp, "cont", NULL, NULL, f);

        return r < 0 ? r : wait_until(h, has_resumed, &seen, f);
}

/* A source whose migration has failed continues its guest by itself. */
static int await_self_continue(struct handoff *h, struct run_state *state, struct failure *f)
{
        uint64_t before = h->source.events ? h->source.events - 1 : 0;
        int r = wait_at_most(h, SELF_CONTINUE_USEC, has_resumed, &before, f);

        return r < 0 ? r : query_status(h, state, f);
}

static void leave_as_found(struct handoff *h, const char *state)
{
        log_warning("the guest does not run (%s), and cprd did not stop it: it stays that way", state);
        if (!h->facts.migration.run_state)
                runstate_note(h, state, NULL);
}

/* Whether it is the migration that has stopped the guest. A reset since its end has left "prelaunch" behind.
 */
static bool is_stopped_by_us(struct handoff *h, const char *state)
{
        struct migration_state migration = {};

        if (!h->facts.migration.asked || h->facts.migration.run_state)
                return false;
        if (STREQ(state, "prelaunch"))
                return query_migrate(h, &migration, NULL) >= 0 && STREQ(migration.status, "completed");
        return STREQ(state, "postmigrate") || STREQ(state, "finish-migrate");
}

static int continue_guest(struct handoff *h, struct failure *f)
{
        struct run_state state;
        uint64_t before = h->source.events ? h->source.events - 1 : 0;
        int r = query_status(h, &state, f);

        if (r >= 0 && STREQ(state.name, "finish-migrate"))
                r = await_self_continue(h, &state, f);
        if (r < 0)
                return r;
        if (state.running) {
                if (h->stop_usec)
                        has_resumed(h, &before);
                return 0;
        }
        if (is_stopped_by_us(h, state.name))
                return set_running(h, f);
        leave_as_found(h, h->facts.migration.run_state ?: state.name);
        return 0;
}

int migration_continue(struct handoff *h, struct failure *f)
{
        int r = destination_kill(h, f); /* before anything else: never two that run one guest */

        relay_hang_up(&h->relay);
        if (r >= 0)
                r = source_connect(h, f);
        if (r >= 0)
                r = end_migration(h, f);
        return r < 0 ? r : continue_guest(h, f);
}

int migration_cancel(struct handoff *h, struct failure *f)
{
        int r = migration_continue(h, f);

        if (r >= 0 && !h->source.is_dead)
                holes_clear(h);
        if (r >= 0 && !h->source.is_dead)
                resources_rejoin(h);
        return r < 0 ? r : settings_restore(h, f);
}
