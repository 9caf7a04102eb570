/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/printable.h"

/* The character at @text and its length in bytes; 0 bytes: it is not UTF-8. */
static size_t decode(const char *text, uint32_t *ret)
{
        static const struct {
                unsigned char mask, lead;
                uint32_t least;
        } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
        const unsigned char *p = (const unsigned char *)text;

        for (size_t n = 0; n < ELEMENTSOF(forms); n++) {
                uint32_t c = p[0] & ~forms[n].mask & 0xff;

                if ((p[0] & forms[n].mask) != forms[n].lead)
                        continue;
                for (size_t i = 1; i <= n; i++) {
                        if ((p[i] & 0xc0) != 0x80)
                                return 0;
                        c = c << 6 | (p[i] & 0x3f);
                }
                if (c < forms[n].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                        return 0;
                *ret = c;
                return n + 1;
        }
        return 0;
}

static bool is_harmless(uint32_t c)
{
        static const struct {
                uint32_t first, last;
        } harmful[] = {
                {0, 0x1f},        {0x7f, 0x9f},                         /* control characters */
                {0x61c, 0x61c},   {0x200e, 0x200f},                     /* direction marks */
                {0x2028, 0x202e}, {0x2066, 0x2069},                     /* line ends, embeddings, overrides */
                {0xfff9, 0xfffb}, {0xe0000, 0xe007f}, {0xfeff, 0xfeff}, /* invisible */
        };

        for (size_t i = 0; i < ELEMENTSOF(harmful); i++)
                if (c >= harmful[i].first && c <= harmful[i].last)
                        return false;
        return true;
}

char *make_printable(char *text)
{
        char *to = text;

        for (const char *from = text; *from;) {
                uint32_t c = 0;
                size_t n = decode(from, &c);

                if (n > 0 && is_harmless(c)) {
                        memmove(to, from, n);
                        to += n;
                } else {
                        *to++ = '?';
                }
                from += n ? n : 1;
        }
        *to = '\0';
        return text;
}

static char *printable_dup(const char *text)
{
        char *copy = strdup(text);

        return copy ? make_printable(copy) : NULL;
}

static json_object *copy_array(json_object *o)
{
        json_object *copy = json_object_new_array();

        for (size_t i = 0; i < json_object_array_length(o); i++)
                json_object_array_add(copy, printable_copy(json_object_array_get_idx(o, i)));
        return copy;
}

static json_object *copy_object(json_object *o)
{
        json_object *copy = json_object_new_object();

        json_object_object_foreach (o, key, value) {
                _cleanup_free_ char *name = printable_dup(key);

                if (name)
                        json_object_object_add(copy, name, printable_copy(value));
        }
        return copy;
}

json_object *printable_copy(json_object *o)
{
        _cleanup_free_ char *text = NULL;

        switch (json_object_get_type(o)) {
        case json_type_string:
                text = printable_dup(json_object_get_string(o));
                return text ? json_object_new_string(text) : NULL;
        case json_type_array:
                return copy_array(o);
        case json_type_object:
                return copy_object(o);
        default:
                return json_object_get(o);
        }
}

/* JSON escapes characters above U+FFFF as a pair of surrogates. */
static void put_escaped(FILE *f, uint32_t c)
{
        if (c > 0xffff) {
                fprintf(f, "\\u%04x", 0xd7c0 + (c >> 10));
                c = 0xdc00 | (c & 0x3ff);
        }
        fprintf(f, "\\u%04x", c);
}

char *printable_json(json_object *o)
{
        const char *from =
                json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        char *text = NULL;
        size_t size;
        FILE *f = open_memstream(&text, &size);

        if (!f)
                return NULL;
        while (*from) {
                uint32_t c = 0xfffd; /* every reader shows the replacement character for what is not UTF-8 */
                size_t n = decode(from, &c);

                if (n > 0 && is_harmless(c))
                        fwrite(from, 1, n, f);
                else
                        put_escaped(f, c);
                from += n ? n : 1;
        }
        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        return text;
}
