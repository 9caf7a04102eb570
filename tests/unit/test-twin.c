/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/mend.h"
#include "handoff/settings.h"
#include "handoff/twin.h"
#include "handoff/wait.h"

#include "fake-qdict.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* A QEMU that answers from a table: by the command, and by a word of its arguments. It reports what it was
 * told to set. */
struct answer {
        const char *command, *word, *reply;
};

static json_object *settings_of(json_object *state, const char *name)
{
        json_object *o = json_obj(state, name);

        if (!o) {
                o = json_object_new_object();
                json_add(state, name, o);
        }
        return o;
}

static void set(json_object *state, const char *command, json_object *arguments)
{
        json_object *list = json_arr(arguments, "capabilities");

        for (size_t i = 0; list && i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);

                json_add_bool(settings_of(state, "capabilities"), json_str(o, "capability"),
                              json_flag(o, "state"));
        }
        if (STREQ(command, "block_set_io_throttle"))
                json_add(state, command, json_object_get(arguments));
        if (!STREQ(command, "migrate-set-parameters"))
                return;
        json_object_object_foreach (arguments, key, value) {
                json_add(settings_of(state, "parameters"), key, json_object_get(value));
        }
}

static json_object *capabilities(json_object *state)
{
        json_object *list = json_object_new_array();

        json_object_object_foreach (settings_of(state, "capabilities"), key, value) {
                json_object *o = json_object_new_object();

                json_add_str(o, "capability", key);
                json_add(o, "state", json_object_get(value));
                json_object_array_add(list, o);
        }
        return list;
}

static json_object *find_reply(json_object *state, const struct answer *answers, const char *command,
                               const char *arguments)
{
        if (STREQ(command, "query-migrate-capabilities"))
                return capabilities(state);
        if (STREQ(command, "query-throttle"))
                return json_object_get(settings_of(state, "block_set_io_throttle"));
        if (STREQ(command, "query-migrate-parameters"))
                return json_object_get(settings_of(state, "parameters"));
        for (; answers && answers->command; answers++)
                if (STREQ(answers->command, command) && strstr(arguments, answers->word))
                        return json_tokener_parse(answers->reply);
        return strncmp(command, "query", 5) == 0 ? json_object_new_array() : json_object_new_object();
}

static void answer(int fd, json_object *state, const struct answer *answers, json_object *request)
{
        json_object *arguments = json_obj(request, "arguments"), *reply = json_object_new_object();
        const char *command = json_str(request, "execute"), *text;

        set(state, command, arguments);
        json_add(reply, "return",
                 find_reply(state, answers, command,
                            json_object_to_json_string_ext(arguments, JSON_C_TO_STRING_PLAIN)));
        text = json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN);
        if (write(fd, text, strlen(text)) < 0 || write(fd, "\r\n", 2) < 0)
                _exit(0);
        json_object_put(reply);
}

/* Requests come one after the other, with nothing in between. */
static void run_qemu(int fd, json_object *state, const struct answer *answers)
{
        struct json_tokener *tokener = json_tokener_new();
        char byte;

        while (read(fd, &byte, 1) == 1) {
                json_object *request = json_tokener_parse_ex(tokener, &byte, 1);

                if (request) {
                        answer(fd, state, answers, request);
                        json_object_put(request);
                }
        }
        _exit(0);
}

struct fixture {
        struct handoff *h;
        pid_t qemu;
};

static struct fixture start(const char *state, const struct answer *answers)
{
        struct fixture x = {.h = handoff_new("test")};
        int fds[2], journal = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        EXPECT(journal_open(journal, true, &x.h->journal, NULL) >= 0);
        x.h->order.json = json_tokener_parse("{\"order\":{}}");
        x.h->destination.tells_graph = true;
        x.h->step.deadline = now_usec() + 20 * USEC_PER_SEC;
        x.qemu = fork();
        EXPECT(x.qemu >= 0);
        if (x.qemu == 0) {
                close(fds[0]);
                run_qemu(fds[1], json_tokener_parse(state), answers);
        }
        close(fds[1]);
        EXPECT(qmp_new(fds[0], &x.h->source.qmp) == 0);
        EXPECT(process_open(&x.h->source.process, x.qemu, 0, NULL) >= 0);
        return x;
}

static void stop(struct fixture *x)
{
        kill(x->qemu, SIGKILL);
        waitpid(x->qemu, NULL, 0);
        handoff_free(x->h);
}

/* ---- settings ---- */

static void expect_told(struct handoff *h, const char *question, const char *expected)
{
        _cleanup_json_ json_object *reply = NULL;

        EXPECT(wait_qmp(h, h->source.qmp, question, NULL, &reply, NULL) >= 0);
        EXPECT_STR(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN), expected);
}

static void settings_are_put_back(void)
{
        static const char before[] = "[{\"capability\":\"multifd\",\"state\":true},"
                                     "{\"capability\":\"events\",\"state\":false},"
                                     "{\"capability\":\"return-path\",\"state\":true},"
                                     "{\"capability\":\"xbzrle\",\"state\":false}]";
        static const char parameters[] =
                "{\"mode\":\"normal\",\"tls-creds\":\"tls0\",\"tls-hostname\":\"\",\"max-bandwidth\":5}";
        _cleanup_(stop) struct fixture x = start(
                "{\"capabilities\":{\"multifd\":true,\"events\":false,\"return-path\":true,\"xbzrle\":false},"
                "\"parameters\":{\"mode\":\"normal\",\"tls-creds\":\"tls0\",\"tls-hostname\":\"\",\"max-bandwidth\":5}}",
                NULL);

        EXPECT(settings_prepare(x.h, NULL) >= 0);
        expect_told(
                x.h, "query-migrate-capabilities",
                "[{\"capability\":\"multifd\",\"state\":false},{\"capability\":\"events\",\"state\":true},"
                "{\"capability\":\"return-path\",\"state\":true},{\"capability\":\"xbzrle\",\"state\":false}]");
        expect_told(
                x.h, "query-migrate-parameters",
                "{\"mode\":\"cpr-transfer\",\"tls-creds\":\"\",\"tls-hostname\":\"\",\"max-bandwidth\":5}");
        EXPECT(settings_restore(x.h, NULL) >= 0);
        expect_told(x.h, "query-migrate-capabilities", before);
        expect_told(x.h, "query-migrate-parameters", parameters);
}

/* A recovery of a handoff that had not got that far. */
static void no_settings(void)
{
        _cleanup_(stop) struct fixture x = start("{\"parameters\":{\"mode\":\"normal\"}}", NULL);

        EXPECT(settings_restore(x.h, NULL) >= 0);
        expect_told(x.h, "query-migrate-parameters", "{\"mode\":\"normal\"}");
}

/* ---- the command line ---- */

#define TREE                                                                                                         \
        "bus: pcie.0\\r\\n"                                                                                          \
        "  dev: virtio-blk-pci, id \\\"disk\\\"\\r\\n    addr = 02.0\\r\\n    class X, addr 00:02.0, pci id 1\\r\\n" \
        "  dev: virtio-rng-pci, id \\\"new\\\"\\r\\n    addr = 05.0\\r\\n    class X, addr 00:05.0, pci id 2\\r\\n"

static const struct answer changed[] = {
        {"human-monitor-command", "qtree", "\"" TREE "\""},
        {"human-monitor-command", "network", "\"hub 0\\r\\n \\\\ kept\\r\\n\""},
        {"query-chardev", "", "[{\"label\":\"c0\"}]"},
        {"qom-list", "/objects", "[{\"name\":\"more\",\"type\":\"child<rng-random>\"}]"},
        {"qom-list", "peripheral",
         "[{\"name\":\"disk\",\"type\":\"child<virtio-blk-pci>\"},{\"name\":\"new\",\"type\":\"child<virtio-rng-pci>\"}]"},
        {"qom-get", "filename", "\"/dev/urandom\""},
        {"qom-get", "\"rng\"", "\"/objects/more\""},
        {"qom-get", "", "\"\""},
        {"query-block", "",
         "[{\"device\":\"\",\"qdev\":\"/machine/peripheral/disk/virtio-backend\",\"inserted\":{\"node-name\":\"top\"}},"
         "{\"device\":\"cd\",\"qdev\":\"cd0\"}]"},
        {"query-named-block-nodes", "",
         "[{\"node-name\":\"top\",\"drv\":\"qcow2\",\"file\":\"/top\",\"ro\":false,\"cache\":{\"direct\":true}},"
         "{\"node-name\":\"#block1\",\"drv\":\"file\",\"file\":\"/top\",\"ro\":false},"
         "{\"node-name\":\"base\",\"drv\":\"file\",\"file\":\"/base\",\"ro\":true}]"},
        {"x-debug-query-block-graph", "",
         "{\"nodes\":[{\"id\":1,\"name\":\"top\"},{\"id\":2,\"name\":\"#block1\"},{\"id\":3,\"name\":\"base\"}],"
         "\"edges\":[{\"parent\":1,\"child\":2,\"name\":\"file\"},{\"parent\":1,\"child\":3,\"name\":\"backing\"}]}"},
        {},
};

/* What QEMU keeps of the nodes that were added: all of the options, and what was told. */
struct kept {
        struct qdict *q[4];
};

static struct kept keep(const char *aio)
{
        return (struct kept){{
                fake_qdict("driver", "qcow2", "node-name", "top", "read-only", "off", "auto-read-only", "off",
                           NULL),
                fake_qdict("driver", "qcow2", "node-name", "top", NULL),
                fake_qdict("driver", "file", "filename", "/top", "auto-read-only", "off", "discard", "unmap",
                           "aio", aio, NULL),
                fake_qdict("driver", "file", "filename", "/two", "auto-read-only", "off", NULL),
        }};
}

static void unkeep(struct kept *k)
{
        for (size_t i = 0; i < ELEMENTSOF(k->q); i++)
                fake_free(k->q[i]);
}

static void take(struct cmdline *c, const char *const *words, size_t n)
{
        c->argv = calloc(n + 1, sizeof(char *));
        for (c->n = 0; c->n < n; c->n++)
                c->argv[c->n] = text_copy(words[c->n]);
}

/* @more: what else the node has. */
#define TOP(more)                                                                                            \
        "{\"read-only\":false,\"driver\":\"qcow2\",\"cache\":{\"direct\":true,\"no-flush\":false},"          \
        "\"auto-read-only\":false," more "\"file\":{\"read-only\":false,\"driver\":\"file\","                \
        "\"cache\":{\"direct\":false,\"no-flush\":false},\"filename\":\"/top\",\"auto-read-only\":false,"    \
        "\"aio\":\"native\",\"discard\":\"unmap\"},\"backing\":\"base\",\"node-name\":\"top\"}"

static void the_command_line_follows(void)
{
        static const char *const before[] = {
                "qemu",
                "-blockdev",
                "{\"driver\":\"file\",\"node-name\":\"base\",\"filename\":\"/base\",\"aio\":\"io_uring\"}",
                "-netdev",
                "hubport,id=kept,hubid=0",
                "-netdev",
                "hubport,id=lost,hubid=1",
                "-chardev",
                "null,id=c0",
                "-chardev",
                "null,id=c1",
                "-object",
                "rng-builtin,id=old",
                "-drive",
                "if=none,id=cd,file=/one,format=raw,readonly=on",
                "-device",
                "virtio-blk-pci,id=disk,drive=base",
                "-device",
                "virtio-rng-pci,id=gone",
                "-name",
                "-device",
        };
        static const char *const after[] = {
                "qemu",
                "-blockdev",
                "{\"driver\":\"file\",\"node-name\":\"base\",\"filename\":\"/base\",\"aio\":\"io_uring\",\"read-only\":true}",
                "-blockdev",
                TOP(""),
                "-netdev",
                "hubport,id=kept,hubid=0",
                "-chardev",
                "null,id=c0",
                "-drive",
                "if=none,id=cd",
                "-device",
                "virtio-blk-pci,id=disk,addr=02.0,drive=top",
                "-name",
                "-device",
                "-object",
                "{\"qom-type\":\"rng-random\",\"id\":\"more\",\"filename\":\"/dev/urandom\"}",
                "-device",
                "{\"driver\":\"virtio-rng-pci\",\"id\":\"new\",\"bus\":\"pcie.0\",\"rng\":\"more\",\"addr\":\"05.0\"}",
        };
        _cleanup_(unkeep) struct kept kept = keep("native");
        _cleanup_(stop) struct fixture x = start("{}", changed);
        struct cmdline *c = &x.h->destination.cmdline;
        struct failure f = {};

        EXPECT(kept.q[0]);
        take(c, before, ELEMENTSOF(before));
        EXPECT_INT(twin_adapt(x.h, &f), 0);
        EXPECT_INT(x.h->findings.n_blockers, 0);
        for (size_t i = 0; i < c->n && i < ELEMENTSOF(after); i++)
                EXPECT_STR(c->argv[i], after[i]);
        EXPECT_INT(c->n, ELEMENTSOF(after));
}

/* Runs it with a base that has @discard, in a source in which nodes have (or had) these options. */
static struct fixture follow(const char *base)
{
        const char *before[] = {"qemu", "-blockdev", base, "-device", "virtio-blk-pci,id=disk,drive=base"};
        struct fixture x = start("{}", changed);

        take(&x.h->destination.cmdline, before, ELEMENTSOF(before));
        EXPECT_INT(twin_adapt(x.h, NULL), 0);
        return x;
}

static bool is_refused(const struct fixture *x, const char *id, const char *words)
{
        for (size_t i = 0; i < json_object_array_length(x->h->findings.list); i++) {
                json_object *o = json_object_array_get_idx(x->h->findings.list, i);

                if (STREQ(json_str(o, "severity"), "blocker") && STREQ(json_str(o, "id"), id) &&
                    strstr(json_str(o, "what"), words))
                        return json_str(o, "remedy");
        }
        return false;
}

static void a_snapshot_discards_as_what_it_was_made_of(void)
{
        _cleanup_(unkeep) struct kept kept = keep("native");
        _cleanup_(stop) struct fixture x = follow(
                "{\"driver\":\"file\",\"node-name\":\"base\",\"filename\":\"/base\",\"discard\":\"unmap\"}");

        EXPECT(kept.q[0]);
        EXPECT_INT(x.h->findings.n_blockers, 0);
        EXPECT_STR(x.h->destination.cmdline.argv[4], TOP("\"discard\":\"unmap\","));
}

static const char base[] = "{\"driver\":\"file\",\"node-name\":\"base\",\"filename\":\"/base\"}";

static void what_nobody_tells_is_refused(void)
{
        _cleanup_(stop) struct fixture x = follow(base);

        EXPECT(is_refused(&x, "disk", "top (qcow2, /top) was added since the start, and its aio"));
        EXPECT_STR(x.h->destination.cmdline.argv[2], base);
}

static void so_is_what_is_told_twice(void)
{
        _cleanup_(unkeep) struct kept one = keep("native"), other = keep("io_uring");
        _cleanup_(stop) struct fixture x = follow(base);

        EXPECT(one.q[0] && other.q[0]);
        EXPECT(is_refused(&x, "disk", "a node without a name (file, /top)"));
}

static void so_is_an_option_that_nobody_knows(void)
{
        _cleanup_(unkeep) struct kept kept = keep("native");
        _cleanup_(stop) struct fixture x = {};

        fake_put(kept.q[0], "overlap-check.template", fake_string("all"));
        x = follow(base);
        EXPECT(is_refused(&x, "disk", "options that cprd does not know"));
}

/* ---- DIMMs and vCPUs ---- */

#define CPU(path, core) "{\"qom-path\":\"" path "\",\"props\":{\"core-id\":" core "}}"

/* @words: of the second vCPU. */
#define PLUGGED(words)                                                                                       \
        {"human-monitor-command", "qtree", "\"bus: pcie.0\\r\\n  dev: VGA, id \\\"\\\"\\r\\n\""},            \
                {"qom-list", "/objects", "[{\"name\":\"m1\",\"type\":\"child<memory-backend-memfd>\"}]"},    \
                {"qom-list", "peripheral",                                                                   \
                 "[{\"name\":\"dimm1\",\"type\":\"child<pc-dimm>\"},"                                        \
                 "{\"name\":\"cpu1\",\"type\":\"child<x-cpu>\"}]"},                                          \
                {"query-hotpluggable-cpus", "",                                                              \
                 "[" CPU("/machine/peripheral/cpu1", "1") "," CPU("/machine/unattached/device[0]",           \
                                                                  "0") "]"},                                 \
                {"qom-get", "cpu1", words}, {"qom-get", "device[0]", "[1,2]"},                               \
                {"qom-get", "\"size\"", "1048576"}, {"qom-get", "host-nodes", "[]"},                         \
                {"qom-get", "hugetlbsize", "0"}, {"qom-get", "\"policy\"", "\"default\""},                   \
                {"qom-get", "memdev", "\"/objects/m1\""}, {"qom-get", "dimm1", "7"},                         \
                {"qom-get", "m1", "true"},                                                                   \
        {                                                                                                    \
        }

static struct fixture plug(const struct answer *answers)
{
        static const char *const before[] = {"qemu"};
        struct fixture x = start("{}", answers);

        take(&x.h->destination.cmdline, before, ELEMENTSOF(before));
        EXPECT_INT(twin_adapt(x.h, NULL), 0);
        return x;
}

static void memory_and_cpus_are_given(void)
{
        static const struct answer plugged[] = {PLUGGED("[1,2]")};
        static const char *const after[] = {
                "qemu",
                "-object",
                "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"m1\",\"size\":1048576,\"share\":true,\"merge\":true,"
                "\"dump\":true,\"prealloc\":true,\"prealloc-threads\":true,\"reserve\":true,\"policy\":\"default\","
                "\"hugetlb\":true,\"seal\":true}",
                "-device",
                "{\"driver\":\"pc-dimm\",\"id\":\"dimm1\",\"memdev\":\"m1\",\"node\":7,\"slot\":7,\"addr\":7}",
                "-device",
                "{\"driver\":\"x-cpu\",\"id\":\"cpu1\",\"core-id\":1}",
        };
        _cleanup_(stop) struct fixture x = plug(plugged);
        const struct cmdline *c = &x.h->destination.cmdline;

        EXPECT_INT(x.h->findings.n_blockers, 0);
        EXPECT_INT(c->n, ELEMENTSOF(after));
        for (size_t i = 0; i < c->n; i++)
                EXPECT_STR(c->argv[i], after[i]);
}

static void a_cpu_of_another_kind_is_refused(void)
{
        static const struct answer plugged[] = {PLUGGED("[1,3]")};
        _cleanup_(stop) struct fixture x = plug(plugged);

        EXPECT(is_refused(&x, "hot-plug", "vCPU cpu1 (x-cpu)"));
}

/* ---- limits of drives ---- */

static void limits_are_given(void)
{
        static const struct answer source[] = {
                {"query-block", "",
                 "[{\"device\":\"\",\"qdev\":\"/d\",\"inserted\":{\"bps\":0,\"iops\":5,\"iops_max\":9,\"group\":\"g\"}},"
                 "{\"device\":\"same\",\"inserted\":{\"bps\":1}},{\"device\":\"empty\"}]"},
                {}};
        static const struct answer destination[] = {
                {"query-block", "",
                 "[{\"device\":\"same\",\"inserted\":{\"bps\":1}},"
                 "{\"device\":\"\",\"qdev\":\"/d\",\"inserted\":{\"bps\":0,\"iops\":0}},{\"device\":\"empty\"}]"},
                {}};
        _cleanup_(stop) struct fixture x = start("{}", source), y = start("{}", destination);
        _cleanup_json_ json_object *told = NULL;
        struct failure f = {};

        x.h->destination.qmp = y.h->source.qmp;
        EXPECT_INT(mend_throttling(x.h, &f), 0);
        EXPECT(wait_qmp(x.h, x.h->destination.qmp, "query-throttle", NULL, &told, NULL) >= 0);
        EXPECT_STR(
                json_object_to_json_string(told),
                "{ \"id\": \"\\/d\", \"bps\": 0, \"bps_rd\": 0, \"bps_wr\": 0, \"iops\": 5, \"iops_rd\": 0, "
                "\"iops_wr\": 0, \"iops_max\": 9, \"group\": \"g\" }");
        y.h->source.qmp = NULL;
}

int main(void)
{
        TEST(settings_are_put_back);
        TEST(no_settings);
        TEST(the_command_line_follows);
        TEST(a_snapshot_discards_as_what_it_was_made_of);
        TEST(what_nobody_tells_is_refused);
        TEST(so_is_what_is_told_twice);
        TEST(so_is_an_option_that_nobody_knows);
        TEST(memory_and_cpus_are_given);
        TEST(a_cpu_of_another_kind_is_refused);
        TEST(limits_are_given);
        return 0;
}
