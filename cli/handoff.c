/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/batch.h"
#include "cli/live.h"
#include "cli/printable.h"
#include "cli/verbs.h"

#include <signal.h>

#define RECONNECT_USEC (30 * USEC_PER_SEC)
#define TICK_MSEC      100

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
        interrupted = 1;
}

struct watch {
        const struct options *options;
        struct live live;
        bool quiet;  /* only the end is wanted */
        char id[64]; /* of the handoff; "": not known yet */
};

int outcome_status(json_object *record)
{
        static const struct {
                const char *outcome;
                int status;
        } table[] = {
                {"updated", EXIT_UPDATED},
                {"rehearsed", EXIT_UPDATED},
                {"refused", EXIT_REFUSED},
                {"still_on_source", EXIT_STILL_ON_SOURCE},
                {"needs_operator", EXIT_NEEDS_OPERATOR},
        };
        const char *outcome = json_str(record, "outcome") ?: "";

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (STREQ(table[i].outcome, outcome))
                        return table[i].status;
        return EXIT_NEEDS_OPERATOR;
}

static int on_reply(json_object *reply, void *userdata)
{
        struct watch *w = userdata;

        snprintf(w->id, sizeof(w->id), "%s", json_str(reply, "id") ?: "");
        make_printable(w->id);
        if (w->quiet)
                return 0;
        if (w->options->json)
                client_print_json(reply);
        else
                live_reply(&w->live, reply);
        return 0;
}

static int on_tick(void *userdata)
{
        struct watch *w = userdata;

        live_tick(&w->live);
        return interrupted ? -EINTR : 0;
}

static json_object *request_make(const struct options *o)
{
        json_object *parameters = client_name(o);

        json_add_str(parameters, "binary", o->qemu);
        if (o->max_pause)
                json_add_int(parameters, "maxPause", o->max_pause);
        if (o->rehearse)
                json_add_bool(parameters, "rehearse", true);
        if (o->faults)
                json_add(parameters, "faults", json_object_get(o->faults));
        return parameters;
}

/* cprd went away during the call, but the handoff did not end with it: ask for its record by id. */
static int ask_history(struct watch *w, json_object **ret_record)
{
        uint64_t until = now_usec() + RECONNECT_USEC;

        while (now_usec() < until && !interrupted) {
                _cleanup_json_ json_object *parameters = json_object_new_object(), *reply = NULL;
                _cleanup_free_ char *error = NULL;
                struct cprd *c;
                int r = cprd_connect(w->options->socket, &c);

                if (r >= 0) {
                        json_add_str(parameters, "id", w->id);
                        cprd_set_tick(c, TICK_MSEC, on_tick, w);
                        r = client_converse(w->options, c, "io.cprd.History", TAKE_PTR(parameters), NULL,
                                            NULL, &reply, &error);
                        cprd_free(c);
                        if (r == 0) {
                                *ret_record = json_object_get(
                                        json_object_array_get_idx(json_arr(reply, "records"), 0));
                                return *ret_record ? 0 : -EBADMSG;
                        }
                        if (r > 0 || r == -EBADMSG)
                                return r > 0 ? -ENOENT : r;
                        /* It went away again. */
                        until = now_usec() + RECONNECT_USEC;
                }
                usleep(200 * USEC_PER_MSEC);
        }
        return interrupted ? -EINTR : -EPIPE;
}

static void say_lost(const struct options *o, const char *id, int r)
{
        if (r == -EINTR && id)
                fprintf(stderr,
                        "cprctl: the handoff continues without cprctl. To see how it ends: cprctl history --id %s; to cancel it: "
                        "cprctl cancel %s\n",
                        id, o->name);
        else if (id)
                fprintf(stderr,
                        "cprctl: lost the connection to cprd (%s); the outcome of the handoff is not known. "
                        "Ask again: cprctl history --id %s\n",
                        strerror(-r), id);
        else
                fprintf(stderr, "cprctl: no answer from cprd: %s\n", strerror(-r));
}

/* Calls Handoff and waits for its end, even if cprd is restarted meanwhile. */
static int watch(struct watch *w, struct cprd *c, json_object **ret_end)
{
        _cleanup_json_ json_object *reply = NULL, *record = NULL;
        _cleanup_free_ char *error = NULL;
        json_object *end = json_object_new_object();
        int r;

        *ret_end = end;
        cprd_set_tick(c, TICK_MSEC, on_tick, w);
        r = client_converse(w->options, c, "io.cprd.Handoff", request_make(w->options), on_reply, w, &reply,
                            &error);
        if (r > 0) {
                json_add_str(end, "error", error);
                json_add(end, "parameters", TAKE_PTR(reply));
                return EXIT_REFUSED;
        }
        if (r == 0)
                record = json_object_get(json_obj(reply, "record"));
        else if (r != -EINTR && w->id[0])
                r = ask_history(w, &record);
        json_add_str(end, "id", w->id[0] ? w->id : json_str(reply, "id"));
        if (r < 0) {
                json_add_int(end, "lost", -r);
                return r == -EINTR ? EXIT_INTERRUPTED : EXIT_NEEDS_OPERATOR;
        }
        json_add(end, "record", json_object_get(record));
        return outcome_status(record);
}

static void catch_signals(void)
{
        struct sigaction action = {.sa_handler = on_signal};

        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
}

int handoff_run(const struct options *o, bool quiet, json_object **ret_end)
{
        struct watch w = {.options = o, .quiet = quiet};
        struct cprd *c;
        int status;

        if (client_connect(o, &c) < 0)
                return EXIT_REFUSED;
        catch_signals();
        live_init(&w.live, stdout, o->name, o->qemu);
        w.live.terminal &= !o->json && !quiet;
        status = watch(&w, c, ret_end);
        if (!o->json && !quiet && json_obj(*ret_end, "record"))
                live_record(&w.live, json_obj(*ret_end, "record"));
        live_done(&w.live);
        cprd_free(c);
        return status;
}

static int run_one(const struct options *o)
{
        _cleanup_json_ json_object *end = NULL;
        int status = handoff_run(o, false, &end);

        if (json_str(end, "error"))
                client_error(o, json_str(end, "error"), json_obj(end, "parameters"));
        else if (json_int(end, "lost", 0))
                say_lost(o, json_str(end, "id"), -(int)json_int(end, "lost", 0));
        else if (end && o->json)
                client_print_json(end);
        return status;
}

/* False if the VM already runs that QEMU and the operator, asked, does not want it. */
static bool is_wanted(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL, *vms = json_object_new_array();

        if (o->json || o->yes || o->rehearse || client_call(o, "Describe", client_name(o), &reply) != 0)
                return true;
        json_object_array_add(vms, json_object_get(json_obj(reply, "vm")));
        return batch_confirm(o, vms);
}

int verb_handoff(const struct options *o)
{
        struct options one = *o;

        if (o->all || o->outdated || o->n_arguments > 1)
                return batch_handoff(o);
        one.name = o->arguments[0];
        return is_wanted(&one) ? run_one(&one) : EXIT_REFUSED;
}
