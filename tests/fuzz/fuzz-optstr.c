/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Option strings: the first line is the string, the second a key, the third a value. */
#include "fuzz.h"
#include "handoff/optstr.h"

static bool is_plain(const char *key)
{
        return *key && strspn(key, "abcdefghijklmnopqrstuvwxyz-_") == strlen(key);
}

/* What is set can be read back, occurs once, and nothing else is touched. */
static void expect_set(const char *s, const char *key, const char *value)
{
        _cleanup_free_ char *with = optstr_with(s, key, value), *twice = NULL, *got = NULL, *without = NULL;
        _cleanup_free_ char *before = optstr_get(s, "other"), *after = NULL, *nothing = NULL;

        /* JSON keeps text only. */
        for (const char *p = value; optstr_is_json(s) && *p; p++)
                if ((unsigned char)*p >= 0x80)
                        return;
        /* No option of QEMU has a key that begins like JSON; one that comes first would be read as JSON. */
        if (optstr_is_json(with) && !optstr_is_json(s))
                return;
        got = optstr_get(with, key);
        if (optstr_is_json(s) && !got)
                return; /* broken, and left as it is */
        FUZZ_EXPECT(got && STREQ(got, value));
        twice = optstr_with(with, key, value);
        FUZZ_EXPECT(STREQ(with, twice));
        without = optstr_without(with, key);
        nothing = optstr_get(without, key);
        /* The first element is a value, even if it reads like a flag. */
        FUZZ_EXPECT(!nothing || !strchr(without, ',') || !optstr_is_json(without));
        after = optstr_get(with, "other");
        if (!STREQ(key, "other"))
                FUZZ_EXPECT(!before == !after && (!before || STREQ(before, after)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = fuzz_text(data, size), *first = NULL, *with_first = NULL, *got = NULL;
        char *key = strchrnul(text, '\n'), *value;

        if (*key)
                *key++ = '\0';
        value = strchrnul(key, '\n');
        if (*value)
                *value++ = '\0';
        got = optstr_get(text, key);
        first = optstr_first(text, "type");
        optstr_is_on(text, key);
        if (!optstr_is_json(text)) {
                with_first = optstr_with_first(text, "type", value);
                free(first);
                first = optstr_first(with_first, "type");
                FUZZ_EXPECT(first && STREQ(first, value));
        }
        if (is_plain(key) && !(optstr_is_json(text) && strchr(key, '.')))
                expect_set(text, key, value);
        return 0;
}
