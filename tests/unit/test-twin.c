/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/mend.h"
#include "handoff/twin.h"
#include "handoff/wait.h"

#include "fake-qdict.h"
#include "fake-qemu.h"

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

static const char *const started_with[] = {
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
static const char *const followed[] = {
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
static void the_command_line_follows(void)
{
        _cleanup_(unkeep) struct kept kept = keep("native");
        _cleanup_(stop) struct fixture x = start("{}", changed);
        struct cmdline *c = &x.h->destination.cmdline;
        struct failure f = {};

        EXPECT(kept.q[0]);
        take(c, started_with, ELEMENTSOF(started_with));
        EXPECT_INT(twin_adapt(x.h, &f), 0);
        EXPECT_INT(x.h->findings.n_blockers, 0);
        for (size_t i = 0; i < c->n && i < ELEMENTSOF(followed); i++)
                EXPECT_STR(c->argv[i], followed[i]);
        EXPECT_INT(c->n, ELEMENTSOF(followed));
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
