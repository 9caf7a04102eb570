/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables fit the line, and points in time are understood. */
#include "cli/table.h"
#include "cli/verbs.h"
#include "cli/when.h"
#include "test.h"

#include <time.h>

static char *printed(const struct table *t, size_t width)
{
        char *text = NULL;
        size_t size;
        FILE *f = tmpfile();

        EXPECT(f);
        table_print(t, f, width);
        size = (size_t)ftell(f);
        rewind(f);
        text = calloc(1, size + 1);
        EXPECT_INT(fread(text, 1, size, f), size);
        fclose(f);
        return text;
}

static void fill(struct table *t)
{
        static const struct column columns[] = {{"NAME", CUT_END, 0},
                                                {"PID", ALIGN_RIGHT, 1},
                                                {"OUTDATED", ALIGN_LEFT, 0},
                                                {"PATH", CUT_START, 2}};

        table_init(t, columns, ELEMENTSOF(columns));
        table_add(t, COLOUR_NONE,
                  (const char *[]){"web1", "7", "yes", "/opt/qemu/11.1.3/bin/qemu-system-x86_64"});
        table_add(t, COLOUR_NONE, (const char *[]){"databäse", "4711", NULL, "/usr/bin/kvm"});
}

static void a_pipe_gets_everything(void)
{
        _cleanup_free_ char *text = NULL;
        struct table t;

        fill(&t);
        text = printed(&t, 0);
        EXPECT_STR(text, "NAME       PID  OUTDATED  PATH\n"
                         "web1         7  yes       /opt/qemu/11.1.3/bin/qemu-system-x86_64\n"
                         "databäse  4711  -         /usr/bin/kvm\n");
        table_done(&t);
}

static void paths_lose_their_start(void)
{
        _cleanup_free_ char *text = NULL;
        struct table t;

        fill(&t);
        text = printed(&t, 50);
        EXPECT_STR(text, "NAME       PID  OUTDATED  PATH\n"
                         "web1         7  yes       …/bin/qemu-system-x86_64\n"
                         "databäse  4711  -         /usr/bin/kvm\n");
        table_done(&t);
}

static void the_least_important_goes_first(void)
{
        _cleanup_free_ char *narrow = NULL, *narrower = NULL, *least = NULL;
        struct table t;

        fill(&t);
        narrow = printed(&t, 30);
        EXPECT_STR(narrow, "NAME       PID  OUTDATED\nweb1         7  yes\ndatabäse  4711  -\n");
        narrower = printed(&t, 20);
        EXPECT_STR(narrower, "NAME      OUTDATED\nweb1      yes\ndatabäse  -\n");
        least = printed(&t, 5);
        EXPECT_STR(least, narrower);
        table_done(&t);
}

/* No line of any width is longer than asked for, as long as what cannot be left out fits. */
static void every_width(void)
{
        struct table t;

        fill(&t);
        for (size_t width = 18; width < 80; width++) {
                _cleanup_free_ char *text = printed(&t, width);
                size_t n = 0;

                for (const char *p = text; *p; p++) {
                        n = *p == '\n' ? 0 : n + (((unsigned char)*p & 0xc0) != 0x80);
                        if (n > width)
                                FAIL("a line of %zu characters where %zu fit: %s", n, width, text);
                }
        }
        table_done(&t);
}

static void times(void)
{
        static const struct {
                const char *text, *at;
        } table[] = {
                {"90min", "2026-11-24 09:00:00"},      {"2h", "2026-11-24 08:30:00"},
                {"3 d", "2026-11-21 10:30:00"},        {"1w ago", "2026-11-17 10:30:00"},
                {"today", "2026-11-24 00:00:00"},      {"yesterday", "2026-11-23 00:00:00"},
                {"06:15", "2026-11-24 06:15:00"},      {"06:15:09", "2026-11-24 06:15:09"},
                {"2026-11-01", "2026-11-01 00:00:00"}, {"2026-11-01 12:00", "2026-11-01 12:00:00"},
        };
        static const char *const bad[] = {"",           "now",   "2",           "h",     "-2h",
                                          "2026-13-01", "25:00", "2026-11-01x", "2hours"};
        struct tm tm = {.tm_year = 126, .tm_mon = 10, .tm_mday = 24, .tm_hour = 10, .tm_min = 30};
        int64_t now, then;

        EXPECT_INT(setenv("TZ", "UTC", 1), 0);
        tzset();
        now = (int64_t)timegm(&tm) * (int64_t)USEC_PER_SEC;
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                char text[TEXT_MAX];

                if (parse_when(table[i].text, now, &then) < 0)
                        FAIL("\"%s\" is not understood", table[i].text);
                EXPECT_STR(format_time(then, text), table[i].at);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (parse_when(bad[i], now, &then) != -EINVAL)
                        FAIL("\"%s\" was taken as a point in time", bad[i]);
}

static void records_since(void)
{
        _cleanup_json_ json_object *reply = json_tokener_parse(
                "{\"records\":[{\"id\":\"c\",\"time\":3},{\"id\":\"b\",\"time\":2},{\"id\":\"a\",\"time\":1}]}");

        history_keep_since(reply, 2);
        EXPECT_INT(json_object_array_length(json_arr(reply, "records")), 2);
        EXPECT_STR(json_str(json_object_array_get_idx(json_arr(reply, "records"), 1), "id"), "b");
}

int main(void)
{
        TEST(a_pipe_gets_everything);
        TEST(paths_lose_their_start);
        TEST(the_least_important_goes_first);
        TEST(every_width);
        TEST(times);
        TEST(records_since);
        return 0;
}
