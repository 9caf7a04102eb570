/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "made.h"

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

/* @words are options and their values. Its text is what is made of those for the network. */
static struct made make(const char *words)
{
        _cleanup_free_ char *line = text_print("q %s", words);
        struct made m = make_from(line, &plan);

        made_write(&m, 1, "-machine");
        return m;
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
