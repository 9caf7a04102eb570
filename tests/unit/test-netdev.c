/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/translate.h"
#include "test.h"

/* The source's TAP devices: vnet7 is its fd 25, mq0 has two queues. */
static size_t find_taps(void *userdata, const char *ifname, int fds[static NIC_QUEUES_MAX])
{
        static const struct {
                const char *name;
                int fd;
        } taps[] = {{"vnet7", 25}, {"mq0", 27}, {"mq0", 28}};
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(taps); i++)
                if (!ifname || STREQ(ifname, taps[i].name))
                        fds[n++] = taps[i].fd;
        return n;
}

static const struct cmdline_plan plan = {
        .binary = "q",
        .machine = "x",
        .main_path = "/m",
        .cpr_path = "/c",
        .first_queue_fd = 200,
        .find_taps = find_taps,
};

struct made {
        struct cmdline source, out;
        struct cmdline_facts facts;
        struct findings findings;
        char *text; /* its options for the network */
};

/* @words are options and their values, separated by blanks. */
static struct made make(const char *words)
{
        struct made m = {};
        _cleanup_free_ char *line = text_print("q %s", words);
        size_t size = strlen(line) + 1;
        FILE *out;

        for (size_t i = 0; i < size; i++)
                if (line[i] == ' ')
                        line[i] = '\0';
        EXPECT_INT(cmdline_parse(line, size, &m.source, NULL), 0);
        EXPECT_INT(cmdline_make(&m.source, &plan, &m.out, &m.facts, &m.findings), 0);
        out = open_memstream(&m.text, &size);
        for (size_t i = 1; i < m.out.n && !STREQ(m.out.argv[i], "-machine"); i++)
                fprintf(out, "%s%s", i > 1 ? " " : "", m.out.argv[i]);
        fclose(out);
        return m;
}

static void made_done(struct made *m)
{
        cmdline_done(&m->source);
        cmdline_done(&m->out);
        cmdline_facts_done(&m->facts);
        findings_done(&m->findings);
        free(m->text);
}

static void expect_made(const char *source, const char *destination, unsigned n_warnings)
{
        _cleanup_(made_done) struct made m = make(source);

        EXPECT_STR(m.text, destination);
        EXPECT_INT(m.findings.n_blockers, 0);
        EXPECT_INT(m.findings.n_warnings, n_warnings);
}

static void expect_refused(const char *source)
{
        _cleanup_(made_done) struct made m = make(source);

        EXPECT_INT(m.findings.n_blockers, 1);
        EXPECT(json_str(json_object_array_get_idx(m.findings.list, 0), "remedy"));
}

static void open_devices_are_handed_on(void)
{
        expect_made("-netdev tap,id=n,fd=25", "-netdev type=tap,id=n,fd=200", 0);
        expect_made("-netdev tap,id=n,fds=27:28,vhost=on,vhostfds=8:9",
                    "-netdev type=tap,id=n,vhost=on,fds=200:201,vhostfds=264:265", 0);
        expect_made(
                "-netdev {\"type\":\"tap\",\"id\":\"n\",\"fd\":\"25\",\"vhost\":true,\"vhostfd\":\"9\"}",
                "-netdev {\"id\":\"n\",\"vhost\":true,\"type\":\"tap\",\"fd\":\"200\",\"vhostfd\":\"264\"}",
                0);
        expect_made("-nic tap,fd=25,model=e1000", "-nic type=tap,model=e1000,fd=200", 0);
}

static void named_devices_are_found(void)
{
        expect_made("-netdev tap,id=n,ifname=mq0,queues=2,script=no,downscript=no,vhost=on",
                    "-netdev type=tap,id=n,vhost=on,fds=200:201,vhostfds=264:265", 0);
        expect_made("-netdev tap,id=a,ifname=mq0,queues=2,downscript=no -netdev bridge,id=b,br=br0",
                    "-netdev type=tap,id=a,fds=200:201 -netdev type=tap,id=b,fd=202", 0);
        expect_made("-netdev tap,id=n,ifname=vnet7", "-netdev type=tap,id=n,fd=200", 1);
}

static void queues_are_noted(void)
{
        _cleanup_(made_done) struct made m = make("-netdev tap,id=n,fds=27:28,vhostfds=8:9");

        EXPECT_INT((int)m.facts.n_queues, 2);
        EXPECT_INT(m.facts.queues[1].source_fd, 28);
        EXPECT_INT(m.facts.queues[1].fd_number, 201);
        EXPECT_INT(m.facts.queues[1].true_number, 201 + NIC_QUEUES_MAX);
        EXPECT_INT(m.facts.queues[1].vhost_number, 201 + 2 * NIC_QUEUES_MAX);
}

static void what_cannot_be_told_is_refused(void)
{
        expect_refused("-netdev tap,id=n,fd=26");
        expect_refused("-netdev tap,id=n,fd=named");
        expect_refused("-netdev tap,id=n,fds=27:26");
        expect_refused("-netdev tap,id=n,ifname=other");
        expect_refused("-netdev tap,id=n,ifname=mq0,queues=3");
        expect_refused("-netdev bridge,id=n,br=br0"); /* one of three */
}

static void others_are_refused(void)
{
        expect_refused("-net tap,fd=25");
        expect_refused("-netdev stream,id=n,addr.type=unix,addr.path=/p");
        expect_refused("-device virtio-net-pci,netdev=n,rss=on");
        expect_refused("-device {\"driver\":\"virtio-net-pci\",\"netdev\":\"n\",\"hash\":true}");
}

int main(void)
{
        TEST(open_devices_are_handed_on);
        TEST(named_devices_are_found);
        TEST(queues_are_noted);
        TEST(what_cannot_be_told_is_refused);
        TEST(others_are_refused);
        return 0;
}
