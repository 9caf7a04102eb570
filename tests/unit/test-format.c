/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cprctl shows: numbers and names, and a whole handoff as it looks in a pipe. */
#include "cli/format.h"
#include "cli/live.h"
#include "cli/verbs.h"
#include "test.h"

static void durations(void)
{
        static const struct {
                int64_t usec;
                const char *text;
        } table[] = {
                {0, "0 ms"},        {7, "7 us"},        {400, "0.4 ms"},      {1100, "1.1 ms"},
                {4000, "4 ms"},     {4049, "4.0 ms"},   {9949, "9.9 ms"},     {11000, "11 ms"},
                {122400, "122 ms"}, {640000, "640 ms"}, {9999000, "9999 ms"}, {12300000, "12.3 s"},
        };
        char text[TEXT_MAX];

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                EXPECT_STR(format_duration(table[i].usec, text), table[i].text);
}

static void durations_read(void)
{
        static const char *const bad[] = {"",      "2",     "s",     "-1s",   "0ms",  "1h",
                                          "2 s x", "nan s", "1e30s", "0.1us", "inf s"};
        int64_t usec = 0;

        EXPECT_INT(parse_duration("500ms", &usec), 0);
        EXPECT_INT(usec, 500000);
        EXPECT_INT(parse_duration("1.5s", &usec), 0);
        EXPECT_INT(usec, 1500000);
        EXPECT_INT(parse_duration("800us", &usec), 0);
        EXPECT_INT(usec, 800);
        EXPECT_INT(parse_duration("2 min", &usec), 0);
        EXPECT_INT(usec, 120000000);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                if (parse_duration(bad[i], &usec) != -EINVAL)
                        FAIL("\"%s\" was taken as a duration", bad[i]);
}

/* Plays JSON lines to the live view, returns what goes to a pipe. */
static char *play(const char *const *replies, size_t n, const char *record)
{
        _cleanup_json_ json_object *end = json_tokener_parse(record);
        struct live l;
        char *text = NULL;
        size_t size;
        FILE *out = tmpfile();

        EXPECT(out && end);
        live_init(&l, out, "web1", "/opt/new/qemu");
        EXPECT(!l.terminal);
        for (size_t i = 0; i < n; i++) {
                _cleanup_json_ json_object *reply = json_tokener_parse(replies[i]);

                EXPECT(reply);
                live_reply(&l, reply);
                live_tick(&l);
        }
        live_record(&l, end);
        live_done(&l);
        size = (size_t)ftell(out);
        rewind(out);
        text = calloc(1, size + 1);
        EXPECT_INT(fread(text, 1, size, out), size);
        fclose(out);
        return text;
}

#define ABOUT                                                                                                 \
        "\"about\":{\"source\":{\"version\":\"10.0.2\"},\"destination\":{\"version\":\"11.1.3\"},\"cid\":42," \
        "\"connections\":3}"

static void handoff_updated(void)
{
        static const char *const replies[] = {
                "{\"id\":\"5f0c2b\"}",
                "{\"progress\":{\"stage\":\"identify\",\"event\":\"begin\"}}",
                "{\"progress\":{\"stage\":\"identify\",\"event\":\"end\",\"elapsed\":4000,\"error\":0}}",
                "{\"progress\":{\"stage\":\"check\",\"event\":\"begin\"}," ABOUT "}",
                "{\"progress\":{\"stage\":\"check\",\"event\":\"end\",\"elapsed\":38000,\"error\":0}," ABOUT
                "}",
                "{\"progress\":{\"stage\":\"launch\",\"event\":\"begin\"}," ABOUT ",\"findings\":["
                "{\"id\":\"a\",\"severity\":\"passed\"},{\"id\":\"cpu-model\",\"severity\":\"warning\"}]}",
                "{\"progress\":{\"stage\":\"launch\",\"event\":\"end\",\"elapsed\":212000,\"error\":0}," ABOUT
                "}",
                "{\"progress\":{\"stage\":\"load\",\"event\":\"end\",\"elapsed\":109000,\"error\":0}," ABOUT
                "}",
        };
        _cleanup_free_ char *text =
                play(replies, ELEMENTSOF(replies),
                     "{\"outcome\":\"updated\",\"connectionsBefore\":3,\"connectionsAfter\":3,"
                     "\"pause\":122000,\"id\":\"5f0c2b\"}");

        EXPECT_STR(text, "web1: QEMU 10.0.2 -> 11.1.3, 3 vsock connections, CID 42\n"
                         "  identify        4 ms\n"
                         "  check          38 ms   1 passed, 1 warning: cpu-model\n"
                         "  launch        212 ms\n"
                         "  load          109 ms   pause began\n"
                         "updated: connections 3 -> 3, pause 122 ms, record 5f0c2b\n");
}

static void handoff_rolled_back(void)
{
        static const char *const replies[] = {
                "{\"progress\":{\"stage\":\"identify\",\"event\":\"end\",\"elapsed\":4000,\"error\":0}," ABOUT
                "}",
                "{\"progress\":{\"stage\":\"check\",\"event\":\"end\",\"elapsed\":38000,\"error\":0}," ABOUT
                "}",
                "{\"progress\":{\"stage\":\"load\",\"event\":\"end\",\"elapsed\":5000,\"error\":5,\"reason\":\"VQ 0\"}," ABOUT
                ",\"findings\":[]}",
                "{\"progress\":{\"stage\":\"load\",\"undo\":true,\"event\":\"end\",\"elapsed\":900,\"error\":0}," ABOUT
                "}",
        };
        _cleanup_free_ char *text =
                play(replies, ELEMENTSOF(replies),
                     "{\"outcome\":\"still_on_source\",\"stage\":\"load\",\"reason\":\"VQ 0\","
                     "\"remedy\":\"use another\",\"connectionsBefore\":3,\"connectionsAfter\":2,"
                     "\"lost\":1,\"pause\":9000,\"id\":\"5f0c2b\"}");

        EXPECT_STR(text,
                   "web1: QEMU 10.0.2 -> 11.1.3, 3 vsock connections, CID 42\n"
                   "  identify        4 ms\n"
                   "  check          38 ms   0 passed\n"
                   "  load            5 ms   VQ 0\n"
                   "  undo load     0.9 ms\n"
                   "still-on-source: load: VQ 0; connections 3 -> 2, 1 lost, pause 9 ms, record 5f0c2b\n"
                   "    use another\n");
}

static void handoff_refused(void)
{
        static const char *const replies[] = {
                "{\"progress\":{\"stage\":\"check\",\"event\":\"end\",\"elapsed\":1000,\"error\":1,\"reason\":\"x\"}}",
        };
        _cleanup_free_ char *text = play(
                replies, ELEMENTSOF(replies),
                "{\"outcome\":\"refused\",\"id\":\"1\",\"stage\":\"check\",\"reason\":\"x\",\"remedy\":\"y\",\"findings\":"
                "[{\"id\":\"memory\",\"severity\":\"blocker\",\"what\":\"not shared\",\"remedy\":\"share it\"}]}");

        EXPECT_STR(text, "web1: QEMU ? -> /opt/new/qemu\n"
                         "  check           1 ms   0 passed, 1 blocker: memory\n"
                         "  memory: not shared\n"
                         "      share it\n"
                         "refused: nothing was touched, record 1\n");
}

static void statuses(void)
{
        static const struct {
                const char *record;
                int status;
        } table[] = {
                {"{\"outcome\":\"updated\"}", 0},
                {"{\"outcome\":\"refused\"}", 1},
                {"{\"outcome\":\"still_on_source\"}", 2},
                {"{\"outcome\":\"needs_operator\"}", 3},
                {"{\"outcome\":\"what\"}", 3},
                {"{}", 3},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_json_ json_object *record = json_tokener_parse(table[i].record);

                EXPECT_INT(outcome_status(record), table[i].status);
        }
}

int main(void)
{
        TEST(durations);
        TEST(durations_read);
        TEST(handoff_updated);
        TEST(handoff_rolled_back);
        TEST(handoff_refused);
        TEST(statuses);
        return 0;
}
