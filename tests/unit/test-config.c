/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /etc/cprd/cprd.conf: what is allowed, and that a mistake is named. */
#include "daemon/config.h"
#include "test.h"

#include <fcntl.h>

static char path[] = "/tmp/cprd-test-config-XXXXXX";

static int load(const char *text, struct config *c, struct failure *f)
{
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        EXPECT(fd >= 0);
        EXPECT_INT(write(fd, text, strlen(text)), strlen(text));
        close(fd);
        return config_load(c, path, f);
}

static void absent(void)
{
        struct config c;

        EXPECT_INT(config_load(&c, "/nonexistent/cprd.conf", NULL), 0);
        EXPECT_INT(c.max_pause, 2000000);
        EXPECT_INT(c.handoffs, 4);
        EXPECT(config_allows(&c, "/usr/bin/qemu-system-x86_64"));
        config_done(&c);
}

static void complete(void)
{
        struct config c;

        EXPECT_INT(load("{\"binaries\": [\"/opt/q/*/bin/qemu\"], \"maxPause\": 500000, \"handoffs\": 8, "
                        "\"history\": 10, \"deadlines\": {\"build\": 60000000}}",
                        &c, NULL),
                   0);
        EXPECT_INT(c.max_pause, 500000);
        EXPECT_INT(c.handoffs, 8);
        EXPECT_INT(c.history, 10);
        EXPECT_INT(json_int(c.deadlines, "build", 0), 60000000);
        EXPECT(config_allows(&c, "/opt/q/1/bin/qemu"));
        EXPECT(!config_allows(&c, "/usr/bin/qemu-system-x86_64"));
        config_done(&c);
}

static void allow_list(void)
{
        struct config c;

        EXPECT_INT(load("{\"binaries\": [\"/opt/q/*/bin/qemu-*\", \"/opt/q/x/*\"]}", &c, NULL), 0);
        EXPECT(config_allows(&c, "/opt/q/1/bin/qemu-system-x86_64"));
        EXPECT(!config_allows(&c, "/opt/q/1/2/bin/qemu-system-x86_64"));
        EXPECT(!config_allows(&c, "/opt/q/x/../../../tmp/bin/qemu-x"));
        EXPECT(!config_allows(&c, "/opt/q/x/.."));
        EXPECT(!config_allows(&c, "opt/q/1/bin/qemu-x"));
        EXPECT(!config_allows(&c, "/opt/q/x/.hidden"));
        EXPECT(!config_allows(&c, ""));
        config_done(&c);
}

static void mistakes(void)
{
        static const struct {
                const char *text, *why;
        } table[] = {
                {"{\"handoffs\": 8}, \"history\": 1}", "not JSON"},
                {"{\"handoffs\": 8} // eight", "not JSON"},
                {"", "not JSON"},
                {"{\"maxPause\": 1", "not JSON"},
                {"[]", "not a JSON object"},
                {"{\"maxPauze\": 1}", "unknown setting \"maxPauze\""},
                {"{\"maxPause\": 10}", "\"maxPause\" must be"},
                {"{\"maxPause\": \"2s\"}", "\"maxPause\" must be"},
                {"{\"handoffs\": 0}", "\"handoffs\" must be"},
                {"{\"history\": -1}", "\"history\" must be"},
                {"{\"binaries\": \"/usr/bin/qemu\"}", "\"binaries\" must be"},
                {"{\"binaries\": [\"qemu\"]}", "\"binaries\" must be"},
                {"{\"binaries\": [1]}", "\"binaries\" must be"},
                {"{\"deadlines\": []}", "\"deadlines\" must be"},
                {"{\"deadlines\": {\"build\": \"1s\"}}", "\"build\" must be"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                struct failure f = {};
                struct config c;

                EXPECT_INT(load(table[i].text, &c, &f), -EINVAL);
                if (!strstr(f.what, table[i].why) || !strstr(f.what, path) || !f.remedy[0])
                        FAIL("%s: \"%s\" does not say \"%s\"", table[i].text, f.what, table[i].why);
                config_done(&c);
        }
}

int main(void)
{
        int fd = mkostemp(path, O_CLOEXEC);

        EXPECT(fd >= 0);
        close(fd);
        TEST(absent);
        TEST(complete);
        TEST(allow_list);
        TEST(mistakes);
        unlink(path);
        return 0;
}
