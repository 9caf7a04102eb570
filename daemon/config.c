/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include "common/allow.h"
#include "common/file.h"

#include <fcntl.h>

#define CONFIG_MAX 65536 /* bytes */

static const char *const default_binaries[] = {
        "/usr/bin/qemu-system-*",
        "/usr/libexec/qemu-kvm",
        "/opt/qemu/*/bin/qemu-system-*",
};

/* The numeric settings, with their defaults and limits. */
static const struct number {
        const char *key;
        size_t offset;
        int64_t otherwise, least, greatest;
} numbers[] = {
        {"maxPause", offsetof(struct config, max_pause), 2000000, 1000, 600000000},
        {"handoffs", offsetof(struct config, handoffs), 4, 1, 256},
        {"history", offsetof(struct config, history), 1000, 1, 100000},
};

static void set_defaults(struct config *c)
{
        *c = (struct config){.binaries = json_object_new_array()};
        for (size_t i = 0; i < ELEMENTSOF(default_binaries); i++)
                json_object_array_add(c->binaries, json_object_new_string(default_binaries[i]));
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                *(int64_t *)((char *)c + numbers[i].offset) = numbers[i].otherwise;
}

static int take_binaries(struct config *c, json_object *value, struct failure *f)
{
        bool good = json_object_is_type(value, json_type_array);

        for (size_t i = 0; good && i < json_object_array_length(value); i++) {
                const char *s = json_object_get_string(json_object_array_get_idx(value, i));

                good = json_object_is_type(json_object_array_get_idx(value, i), json_type_string) &&
                       s[0] == '/';
        }
        if (!good)
                return failure_set(f, EINVAL, "\"binaries\" must be an array of absolute paths or patterns");
        json_object_put(c->binaries);
        c->binaries = json_object_get(value);
        return 0;
}

static int take_deadlines(struct config *c, json_object *value, struct failure *f)
{
        if (!json_object_is_type(value, json_type_object))
                return failure_set(f, EINVAL,
                                   "\"deadlines\" must be an object: a stage's name and microseconds");
        json_object_object_foreach (value, stage, usec) {
                if (!json_object_is_type(usec, json_type_int) || json_object_get_int64(usec) <= 0)
                        return failure_set(f, EINVAL,
                                           "\"deadlines\": \"%s\" must be a number of microseconds", stage);
        }
        json_object_put(c->deadlines);
        c->deadlines = json_object_get(value);
        return 0;
}

static int take_number(struct config *c, const struct number *n, json_object *value, struct failure *f)
{
        int64_t got = json_object_get_int64(value);

        if (!json_object_is_type(value, json_type_int) || got < n->least || got > n->greatest)
                return failure_set(f, EINVAL, "\"%s\" must be a number from %lld to %lld", n->key,
                                   (long long)n->least, (long long)n->greatest);
        *(int64_t *)((char *)c + n->offset) = got;
        return 0;
}

static int take_member(struct config *c, const char *key, json_object *value, struct failure *f)
{
        if (STREQ(key, "binaries"))
                return take_binaries(c, value, f);
        if (STREQ(key, "deadlines"))
                return take_deadlines(c, value, f);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                if (STREQ(key, numbers[i].key))
                        return take_number(c, &numbers[i], value, f);
        return failure_set(f, EINVAL, "unknown setting \"%s\"", key);
}

static int parse(struct config *c, const char *text, struct failure *f)
{
        json_tokener *t = json_tokener_new();
        _cleanup_json_ json_object *o = NULL;
        enum json_tokener_error e;

        if (!t)
                return -ENOMEM;
        json_tokener_set_flags(t, JSON_TOKENER_STRICT);
        o = json_tokener_parse_ex(t, text, -1);
        e = json_tokener_get_error(t);
        if (e == json_tokener_success &&
            text[json_tokener_get_parse_end(t) + strspn(text + json_tokener_get_parse_end(t), " \t\r\n")])
                e = json_tokener_error_parse_unexpected;
        json_tokener_free(t);
        if (e != json_tokener_success)
                return failure_set(f, EINVAL, "not JSON: %s", json_tokener_error_desc(e));
        if (!json_object_is_type(o, json_type_object))
                return failure_set(f, EINVAL, "not a JSON object");
        json_object_object_foreach (o, key, value) {
                int r = take_member(c, key, value, f);

                if (r < 0)
                        return r;
        }
        return 0;
}

int config_load(struct config *c, const char *path, struct failure *f)
{
        _cleanup_free_ char *text = NULL;
        struct failure why = {};
        int r;

        set_defaults(c);
        r = file_read(AT_FDCWD, path, CONFIG_MAX, &text, NULL);
        if (r == -ENOENT)
                return 0;
        if (r < 0) {
                config_done(c);
                return failure_set(f, r, "cannot read %s: %s", path, strerror(-r));
        }
        r = parse(c, text, &why);
        if (r < 0) {
                config_done(c);
                failure_set(f, r, "%s: %s", path, why.what);
                return failure_remedy(f, "correct it (see cprd.conf(5)), then start cprd again");
        }
        return 0;
}

void config_done(struct config *c)
{
        json_object_put(c->binaries);
        json_object_put(c->deadlines);
        *c = (struct config){};
}

bool config_allows(const struct config *c, const char *binary)
{
        return allow_path(c->binaries, binary);
}
