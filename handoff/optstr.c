/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/optstr.h"

/* ---- JSON ---- */

bool optstr_is_json(const char *s)
{
        return *s == '{';
}

/* NULL: not JSON that QEMU would have accepted. */
static json_object *parse(const char *s)
{
        json_object *o = json_tokener_parse(s);

        if (json_object_is_type(o, json_type_object))
                return o;
        json_object_put(o);
        return NULL;
}

static char *json_print(json_object *o)
{
        return text_copy(mem_check((char *)json_object_to_json_string_ext(
                o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)));
}

static char *json_value(json_object *v)
{
        if (json_object_is_type(v, json_type_boolean))
                return text_copy(json_object_get_boolean(v) ? "on" : "off");
        return text_copy(json_object_get_string(v));
}

static char *json_get(const char *s, const char *key)
{
        _cleanup_json_ json_object *o = parse(s);
        _cleanup_free_ char *path = text_copy(key);
        json_object *v = o;

        for (char *name = path, *dot; name; name = dot ? dot + 1 : NULL) {
                dot = strchr(name, '.');
                if (dot)
                        *dot = '\0';
                if (!json_object_is_type(v, json_type_object) || !json_object_object_get_ex(v, name, &v))
                        return NULL;
        }
        return json_value(v);
}

/* @value NULL: without it. Broken JSON stays as it is. */
static char *json_set(const char *s, const char *key, const char *value)
{
        _cleanup_json_ json_object *o = parse(s);

        if (!o)
                return text_copy(s);
        json_object_object_del(o, key);
        json_add_str(o, key, value);
        return json_print(o);
}

/* ---- key=value ---- */

/* Where the element that begins at @s ends: at a comma that is not doubled, or at the end. */
static const char *element_end(const char *s)
{
        while (*s && !(s[0] == ',' && s[1] != ','))
                s += s[0] == ',' ? 2 : 1;
        return s;
}

/* NULL: that was the last; after a comma at the end there is none. */
static const char *next_element(const char *end)
{
        return *end && end[1] ? end + 1 : NULL;
}

static char *unescaped(const char *s, const char *end)
{
        char *copy = mem_new(1, (size_t)(end - s) + 1), *to = copy;

        for (; s < end; s++) {
                *to++ = *s;
                if (s[0] == ',' && s + 1 < end && s[1] == ',')
                        s++;
        }
        return copy;
}

/* The '=' after the key of the element [s, end); NULL: it has none. A key has no comma in it, escaped or
 * not. */
static const char *key_end(const char *s, const char *end)
{
        const char *equals = s + strcspn(s, "=,");

        return equals < end && *equals == '=' ? equals : NULL;
}

/* Whether the element [s, end) sets @key; then *ret_value is where the value begins, NULL for a flag. */
static bool sets_key(const char *s, const char *end, const char *key, const char **ret_value)
{
        const char *equals = key_end(s, end);
        size_t n = (size_t)((equals ?: end) - s);

        *ret_value = equals ? equals + 1 : NULL;
        if (n == strlen(key) && strncmp(s, key, n) == 0)
                return true;
        return !equals && n == strlen(key) + 2 && strncmp(s, "no", 2) == 0 && strncmp(s + 2, key, n - 2) == 0;
}

static bool first_has_no_key(const char *s)
{
        return *s && !key_end(s, element_end(s));
}

char *optstr_get(const char *s, const char *key)
{
        char *found = NULL;
        const char *value;

        if (optstr_is_json(s))
                return json_get(s, key);
        for (const char *e = s, *end; e; e = next_element(end)) {
                end = element_end(e);
                if (!sets_key(e, end, key, &value))
                        continue;
                free(found);
                if (value)
                        found = unescaped(value, end);
                else
                        found = text_copy(strlen(key) == (size_t)(end - e) ? "on" : "off");
        }
        return found;
}

bool optstr_is_on(const char *s, const char *key)
{
        _cleanup_free_ char *value = optstr_get(s, key);

        return value &&
               (STREQ(value, "on") || STREQ(value, "yes") || STREQ(value, "true") || STREQ(value, "y"));
}

char *optstr_first(const char *s, const char *implied)
{
        char *named;

        if (optstr_is_json(s) || !first_has_no_key(s))
                return optstr_get(s, implied);
        named = next_element(element_end(s)) ? optstr_get(next_element(element_end(s)), implied) : NULL;
        return named ?: unescaped(s, element_end(s));
}

struct builder {
        char *text;
        size_t size;
        FILE *f;
        bool begun;
};

/* The stream keeps the addresses of both members, so a builder must not be moved. */
static void builder_open(struct builder *b)
{
        b->f = mem_check(open_memstream(&b->text, &b->size));
}

/* An empty first element stays as it is: without it the next would be the first. */
static void builder_add(struct builder *b, const char *s, size_t n)
{
        if (n == 0 && b->begun)
                return;
        if (b->begun)
                fputc(',', b->f);
        b->begun = true;
        fwrite(s, 1, n, b->f);
}

static void builder_set(struct builder *b, const char *key, const char *value)
{
        builder_add(b, key, strlen(key));
        fputc('=', b->f);
        for (; *value; value++) {
                fputc(*value, b->f);
                if (*value == ',')
                        fputc(',', b->f);
        }
}

static char *builder_close(struct builder *b)
{
        bool failed = ferror(b->f);

        failed = fclose(b->f) != 0 || failed;
        return mem_check(failed ? NULL : b->text);
}

char *optstr_without(const char *s, const char *key)
{
        struct builder b = {};
        const char *value;

        if (optstr_is_json(s))
                return json_set(s, key, NULL);
        builder_open(&b);
        for (const char *e = s, *end; e; e = next_element(end)) {
                end = element_end(e);
                /* A first element that has no key is a value, even if it reads like one. */
                if ((e == s && first_has_no_key(s)) || !sets_key(e, end, key, &value))
                        builder_add(&b, e, (size_t)(end - e));
        }
        return builder_close(&b);
}

char *optstr_with(const char *s, const char *key, const char *value)
{
        _cleanup_free_ char *rest = NULL;
        struct builder b = {};

        if (optstr_is_json(s))
                return json_set(s, key, value);
        rest = optstr_without(s, key);
        builder_open(&b);
        if (*rest)
                builder_add(&b, rest, strlen(rest));
        builder_set(&b, key, value);
        return builder_close(&b);
}

char *optstr_with_first(const char *s, const char *implied, const char *value)
{
        _cleanup_free_ char *rest = optstr_without(s, implied);
        const char *tail = rest;
        struct builder b = {};

        if (first_has_no_key(s))
                tail = next_element(element_end(rest)) ?: "";
        builder_open(&b);
        builder_set(&b, implied, value);
        builder_add(&b, tail, strlen(tail));
        return builder_close(&b);
}
