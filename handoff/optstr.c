/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/optstr.h"

/* Where the element that begins at @s ends: at a comma that is not doubled, or at the end. */
static const char *element_end(const char *s)
{
        while (*s && !(s[0] == ',' && s[1] != ','))
                s += s[0] == ',' ? 2 : 1;
        return s;
}

static const char *next_element(const char *end)
{
        return *end ? end + 1 : NULL;
}

static char *unescaped(const char *s, const char *end)
{
        char *copy = malloc((size_t)(end - s) + 1), *to = copy;

        if (!copy)
                abort();
        for (; s < end; s++) {
                *to++ = *s;
                if (s[0] == ',' && s + 1 < end && s[1] == ',')
                        s++;
        }
        *to = '\0';
        return copy;
}

/* Whether the element [s, end) sets @key; then *ret_value is where the value begins, NULL for a flag. */
static bool sets_key(const char *s, const char *end, const char *key, const char **ret_value)
{
        const char *equals = memchr(s, '=', (size_t)(end - s));
        size_t n = (size_t)((equals ?: end) - s);

        *ret_value = equals ? equals + 1 : NULL;
        if (n == strlen(key) && strncmp(s, key, n) == 0)
                return true;
        return !equals && n == strlen(key) + 2 && strncmp(s, "no", 2) == 0 && strncmp(s + 2, key, n - 2) == 0;
}

char *optstr_get(const char *s, const char *key)
{
        _cleanup_free_ char *found = NULL;
        const char *value;

        for (const char *e = s, *end; e; e = next_element(end)) {
                end = element_end(e);
                if (!sets_key(e, end, key, &value))
                        continue;
                free(found);
                if (value)
                        found = unescaped(value, end);
                else
                        found = strdup(strlen(key) == (size_t)(end - e) ? "on" : "off");
        }
        return TAKE_PTR(found);
}

bool optstr_is_on(const char *s, const char *key)
{
        _cleanup_free_ char *value = optstr_get(s, key);

        return value &&
               (STREQ(value, "on") || STREQ(value, "yes") || STREQ(value, "true") || STREQ(value, "y"));
}

static bool first_has_no_key(const char *s)
{
        return *s && !memchr(s, '=', (size_t)(element_end(s) - s));
}

char *optstr_first(const char *s, const char *implied)
{
        return first_has_no_key(s) ? unescaped(s, element_end(s)) : optstr_get(s, implied);
}

struct builder {
        char *text;
        size_t size;
        FILE *f;
};

/* The stream keeps the addresses of both members, so a builder is not to be moved. */
static void builder_open(struct builder *b)
{
        b->f = open_memstream(&b->text, &b->size);
        if (!b->f)
                abort();
}

static void builder_add(struct builder *b, const char *s, size_t n)
{
        if (ftell(b->f) > 0)
                fputc(',', b->f);
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
        fclose(b->f);
        return b->text;
}

char *optstr_without(const char *s, const char *key)
{
        struct builder b = {};
        const char *value;

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
        _cleanup_free_ char *rest = optstr_without(s, key);
        struct builder b = {};

        builder_open(&b);
        if (*rest)
                builder_add(&b, rest, strlen(rest));
        builder_set(&b, key, value);
        return builder_close(&b);
}

char *optstr_with_first(const char *s, const char *implied, const char *value)
{
        _cleanup_free_ char *rest = NULL;
        struct builder b = {};
        const char *tail = s;

        builder_open(&b);
        if (first_has_no_key(s)) {
                const char *end = element_end(s);

                tail = *end ? end + 1 : end;
        }
        rest = optstr_without(tail, implied);
        builder_set(&b, implied, value);
        if (*rest)
                builder_add(&b, rest, strlen(rest));
        return builder_close(&b);
}
