/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/client.h"

#include "cli/format.h"
#include "cli/printable.h"

int client_connect(const struct options *o, struct cprd **ret)
{
        int r = cprd_connect(o->socket, ret);

        if (r == -ENOENT || r == -ECONNREFUSED)
                fprintf(stderr, "cprctl: cprd is not running. Start it: systemctl start cprd\n");
        else if (r == -EACCES || r == -EPERM)
                fprintf(stderr, "cprctl: only root and members of the group cprd may talk to cprd. "
                                "Use sudo, or: usermod -a -G cprd USER\n");
        else if (r < 0)
                fprintf(stderr, "cprctl: cannot connect to cprd: %s\n", strerror(-r));
        return r;
}

/* What each error of io.cprd.varlink means to a person. The field named is put into the text. */
static const struct {
        const char *error, *text, *field, *remedy;
} errors[] = {
        {"io.cprd.NoSuchVm", "no VM is registered as %s", "name", "see cprctl list, cprctl register"},
        {"io.cprd.VmExists", "a running VM is already registered as %s", "name", "unregister it first"},
        {"io.cprd.Busy", "a handoff or a check of %s is in flight", "name", "try again when it has ended"},
        {"io.cprd.NotCancellable",
         "there is nothing to cancel: no handoff of %s is in flight, or it is past its commit", "name", NULL},
        {"io.cprd.NoSuchRecord", "there is no record %s", "id", "see cprctl history"},
        {"io.cprd.PermissionDenied", "only root and members of the group cprd may do that (%s)", "caller",
         NULL},
        {"io.cprd.NotUsable", "%s", "what", NULL},
        {"io.cprd.Failed", "cprd failed: %s", "what", "see journalctl -u cprd"},
        {"org.varlink.service.InvalidParameter", "cprd does not accept this value of %s", "parameter", NULL},
        {"org.varlink.service.MethodNotFound", "this cprd is too old: it has no %s", "method", "upgrade it"},
};

const char *client_error_text(const char *error, json_object *parameters, char *text, size_t size)
{
        snprintf(text, size, "%s", error);
        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                if (STREQ(error, errors[i].error))
                        snprintf(text, size, errors[i].text, json_str(parameters, errors[i].field) ?: "?");
        return text;
}

static const char *usual_remedy(const char *error)
{
        for (size_t i = 0; i < ELEMENTSOF(errors); i++)
                if (STREQ(error, errors[i].error))
                        return errors[i].remedy;
        return NULL;
}

static void client_explain(const char *error, json_object *parameters)
{
        const char *remedy = json_str(parameters, "remedy") ?: usual_remedy(error);
        char text[1024];

        fprintf(stderr, "%scprctl:%s %s\n", colour(stderr, COLOUR_BAD), colour(stderr, COLOUR_NONE),
                client_error_text(error, parameters, text, sizeof(text)));
        if (remedy)
                fprintf(stderr, "        %s\n", remedy);
}

void client_error(const struct options *o, const char *error, json_object *parameters)
{
        _cleanup_json_ json_object *message = json_object_new_object(),
                                   *printable = printable_copy(parameters);

        client_explain(error, printable);
        if (!o->json)
                return;
        json_add_str(message, "error", error);
        json_add(message, "parameters", json_object_get(parameters));
        client_print_json(message);
}

/* What on_each() needs to call a caller's @each. */
struct listener {
        const struct options *options;
        cprd_reply_t each;
        void *userdata;
};

static json_object *take_reply(const struct options *o, json_object *reply)
{
        return o->json ? json_object_get(reply) : printable_copy(reply);
}

static int on_each(json_object *parameters, void *userdata)
{
        const struct listener *l = userdata;
        _cleanup_json_ json_object *reply = take_reply(l->options, parameters);

        return l->each(reply, l->userdata);
}

int client_converse(const struct options *o, struct cprd *c, const char *method, json_object *parameters,
                    cprd_reply_t each, void *userdata, json_object **ret, char **ret_error)
{
        struct listener l = {.options = o, .each = each, .userdata = userdata};
        _cleanup_json_ json_object *reply = NULL;
        int r = cprd_call(c, method, parameters, each ? on_each : NULL, &l, &reply, ret_error);

        if (r < 0)
                return r;
        *ret = take_reply(o, reply);
        if (*ret_error)
                make_printable(*ret_error);
        return r;
}

int client_call(const struct options *o, const char *method, json_object *parameters, json_object **ret)
{
        _cleanup_json_ json_object *reply = NULL;
        _cleanup_free_ char *error = NULL;
        struct cprd *c;
        char name[64];
        int r = client_connect(o, &c);

        if (r < 0) {
                json_object_put(parameters);
                return EXIT_REFUSED;
        }
        snprintf(name, sizeof(name), "%s%s", strchr(method, '.') ? "" : "io.cprd.", method);
        r = client_converse(o, c, name, parameters, NULL, NULL, &reply, &error);
        cprd_free(c);
        if (r < 0)
                fprintf(stderr, "cprctl: no answer from cprd: %s\n", strerror(-r));
        if (r > 0)
                client_error(o, error, reply);
        if (r != 0)
                return EXIT_REFUSED;
        *ret = TAKE_PTR(reply);
        return 0;
}

json_object *client_name(const struct options *o)
{
        json_object *parameters = json_object_new_object();

        json_add_str(parameters, "name", o->name);
        return parameters;
}

void client_print_json(json_object *reply)
{
        _cleanup_free_ char *text = printable_json(reply);

        printf("%s\n", text ?: "null");
        fflush(stdout);
}
