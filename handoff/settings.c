/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/settings.h"

#include "common/log.h"
#include "handoff/wait.h"

/* All other capabilities are switched off: none of them helps a transfer in which no memory is sent, and some
 * (pause-before-switchover, multifd, postcopy-ram) keep it from completing. */
static const char *const needed_capabilities[] = {
        "events",      /* for the pause, in which nothing is queried */
        "return-path", /* the source has completed when the destination says that it has loaded everything */
};

/* The main channel is a unix socket in a directory that root owns. NULL: the parameter is only remembered. */
static const struct {
        const char *name, *value;
} parameters[] = {
        {"mode", "cpr-transfer"},
        {"tls-creds", ""},
        {"tls-hostname", ""},
        {"tls-authz", ""},
};

static json_object *list_of(json_object *element)
{
        json_object *o = json_object_new_array();

        if (element)
                json_object_array_add(o, element);
        return o;
}

/* ---- what is there ---- */

static bool is_needed(const char *capability)
{
        for (size_t i = 0; i < ELEMENTSOF(needed_capabilities); i++)
                if (STREQ(needed_capabilities[i], capability))
                        return true;
        return false;
}

/* The capabilities that have to be changed, with their current values. */
static int read_capabilities(struct handoff *h, json_object *settings, struct failure *f)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *changed = list_of(NULL);
        int r = wait_qmp(h, h->source.qmp, "query-migrate-capabilities", NULL, &reply, f);

        json_add(settings, "capabilities", changed);
        if (r >= 0 && !json_object_is_type(reply, json_type_array))
                r = failure_set(f, EBADMSG, "QMP query-migrate-capabilities: that is no list");
        for (size_t i = 0; r >= 0 && i < json_object_array_length(reply); i++) {
                json_object *o = json_object_array_get_idx(reply, i);
                const char *name = json_str(o, "capability");

                if (name && is_needed(name) != json_flag(o, "state"))
                        json_object_array_add(changed, json_object_get(o));
        }
        return r < 0 ? r : 0;
}

static int read_parameters(struct handoff *h, json_object *settings, struct failure *f)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *changed = json_object_new_object();
        int r = wait_qmp(h, h->source.qmp, "query-migrate-parameters", NULL, &reply, f);

        json_add(settings, "parameters", changed);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(parameters); i++) {
                const char *value = json_str(reply, parameters[i].name);

                if (value && !STREQ(value, parameters[i].value))
                        json_add_str(changed, parameters[i].name, value);
        }
        return r < 0 ? r : 0;
}

/* The ids of the memory backends that discard their file when their QEMU exits by itself, which may be the
 * other's memory then. */
static int read_discards(struct handoff *h, json_object *settings, struct failure *f)
{
        _cleanup_json_ json_object *objects = NULL;
        json_object *ids = list_of(NULL);
        int r = wait_qmp(h, h->source.qmp, "qom-list", qmp_arguments("path", "/objects", NULL), &objects, f);

        json_add(settings, "discard", ids);
        for (size_t i = 0;
             r >= 0 && json_object_is_type(objects, json_type_array) && i < json_object_array_length(objects);
             i++) {
                json_object *o = json_object_array_get_idx(objects, i);
                _cleanup_json_ json_object *on = NULL;
                _cleanup_free_ char *path = text_print("/objects/%s", json_str(o, "name") ?: "");

                if (!STREQ(json_str(o, "type") ?: "", "child<memory-backend-file>"))
                        continue;
                r = wait_qmp(h, h->source.qmp, "qom-get",
                             qmp_arguments("path", path, "property", "discard-data", NULL), &on, f);
                if (r >= 0 && json_object_get_boolean(on))
                        json_object_array_add(ids, json_object_new_string(json_str(o, "name")));
        }
        return r < 0 ? r : 0;
}

/* ---- what is needed ---- */

static int set_capabilities(struct handoff *h, json_object *list, bool invert, struct failure *f)
{
        _cleanup_json_ json_object *arguments = json_object_new_object();
        json_object *states = list_of(NULL);

        json_add(arguments, "capabilities", states);
        for (size_t i = 0; list && i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i), *state = json_object_new_object();

                json_add_str(state, "capability", json_str(o, "capability"));
                json_add_bool(state, "state", json_flag(o, "state") != invert);
                json_object_array_add(states, state);
        }
        if (!json_object_array_length(states))
                return 0;
        return wait_qmp(h, h->source.qmp, "migrate-set-capabilities", json_object_get(arguments), NULL, f);
}

static int set_parameters(struct handoff *h, json_object *before, bool back, struct failure *f)
{
        json_object *arguments = json_object_new_object();

        for (size_t i = 0; i < ELEMENTSOF(parameters); i++) {
                const char *old = json_str(before, parameters[i].name);

                if (old)
                        json_add_str(arguments, parameters[i].name, back ? old : parameters[i].value);
        }
        if (!json_object_object_length(arguments)) {
                json_object_put(arguments);
                return 0;
        }
        return wait_qmp(h, h->source.qmp, "migrate-set-parameters", arguments, NULL, f);
}

static int set_discards(struct handoff *h, struct qmp *q, bool on, struct failure *f)
{
        json_object *ids = json_arr(h->facts.settings, "discard");
        int r = 0;

        for (size_t i = 0; r >= 0 && ids && i < json_object_array_length(ids); i++) {
                _cleanup_free_ char *path =
                        text_print("/objects/%s", json_object_get_string(json_object_array_get_idx(ids, i)));
                json_object *arguments = qmp_arguments("path", path, "property", "discard-data", NULL);

                json_add_bool(arguments, "value", on);
                r = wait_qmp(h, q, "qom-set", arguments, NULL, f);
        }
        return r < 0 ? r : 0;
}

int settings_prepare(struct handoff *h, struct failure *f)
{
        json_object *settings = json_object_new_object();
        int r;

        json_object_put(h->facts.settings);
        h->facts.settings = settings;
        r = read_capabilities(h, settings, f);
        if (r >= 0)
                r = read_parameters(h, settings, f);
        if (r >= 0)
                r = read_discards(h, settings, f);
        if (r >= 0)
                r = handoff_note(h, "settings", f);
        if (r >= 0)
                r = set_discards(h, h->source.qmp, false, f);
        if (r >= 0)
                r = set_capabilities(h, json_arr(settings, "capabilities"), true, f);
        return r < 0 ? r : set_parameters(h, json_obj(settings, "parameters"), false, f);
}

/* The mode first: some capabilities do not work with cpr-transfer. */
int settings_restore(struct handoff *h, struct failure *f)
{
        json_object *settings = h->facts.settings;
        int r = set_parameters(h, json_obj(settings, "parameters"), true, f);

        if (r >= 0)
                r = set_capabilities(h, json_arr(settings, "capabilities"), false, f);
        return r < 0 ? r : set_discards(h, h->source.qmp, true, f);
}

void settings_hand_on(struct handoff *h)
{
        struct destination *d = &h->destination;
        struct failure f = {};

        if (d->qmp && !d->is_dead && set_discards(h, d->qmp, true, &f) < 0)
                log_failure(LOG_WARNING, &f, "the destination will not discard its memory when it exits");
}
