/* SPDX-License-Identifier: LGPL-2.1-or-later */
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
        char id[64]; /* of the handoff; "": not known yet */
};

int outcome_status(json_object *record)
{
        static const struct {
                const char *outcome;
                int status;
        } table[] = {
                {"updated", EXIT_UPDATED},
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
        if (o->faults)
                json_add(parameters, "faults", json_object_get(o->faults));
        return parameters;
}

/* cprd went away under the call, but the handoff does not end with it: the record is had by its id. */
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
                        /* It went away once more. */
                        until = now_usec() + RECONNECT_USEC;
                }
                usleep(200 * USEC_PER_MSEC);
        }
        return interrupted ? -EINTR : -EPIPE;
}

static int lost(struct watch *w, int r)
{
        live_done(&w->live);
        if (r == -EINTR && w->id[0])
                fprintf(stderr,
                        "cprctl: the handoff goes on without cprctl. Its end: cprctl history --id %s; to call it off: "
                        "cprctl cancel %s\n",
                        w->id, w->options->name);
        else if (w->id[0])
                fprintf(stderr,
                        "cprctl: cprd has gone (%s) and the end of the handoff is not known. "
                        "Ask again: cprctl history --id %s\n",
                        strerror(-r), w->id);
        else
                fprintf(stderr, "cprctl: cprd has not answered: %s\n", strerror(-r));
        return r == -EINTR ? 130 : EXIT_NEEDS_OPERATOR;
}

static int finish(struct watch *w, json_object *record)
{
        if (!w->options->json)
                live_record(&w->live, record);
        live_done(&w->live);
        return outcome_status(record);
}

static int watch(struct watch *w, struct cprd *c)
{
        _cleanup_json_ json_object *reply = NULL, *record = NULL;
        _cleanup_free_ char *error = NULL;
        int r;

        cprd_set_tick(c, TICK_MSEC, on_tick, w);
        r = client_converse(w->options, c, "io.cprd.Handoff", request_make(w->options), on_reply, w, &reply,
                            &error);
        if (r > 0) {
                live_done(&w->live);
                client_error(w->options, error, reply);
                return EXIT_REFUSED;
        }
        if (r < 0 && r != -EINTR && w->id[0]) {
                r = ask_history(w, &record);
                if (r >= 0 && w->options->json) {
                        reply = json_object_new_object();
                        json_add_str(reply, "id", w->id);
                        json_add(reply, "record", json_object_get(record));
                }
        } else if (r == 0) {
                record = json_object_get(json_obj(reply, "record"));
        }
        if (r < 0)
                return lost(w, r);
        if (w->options->json)
                client_print_json(reply);
        return finish(w, record);
}

int verb_handoff(const struct options *o)
{
        struct sigaction action = {.sa_handler = on_signal};
        struct watch w = {.options = o};
        struct cprd *c;
        int status;

        if (client_connect(o, &c) < 0)
                return EXIT_REFUSED;
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        live_init(&w.live, stdout, o->name, o->qemu);
        w.live.terminal &= !o->json;
        status = watch(&w, c);
        cprd_free(c);
        return status;
}
