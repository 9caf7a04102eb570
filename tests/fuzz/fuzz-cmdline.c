/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A source's command line. A line feed stands for the NUL between words, so that inputs can be read. */
#include "fuzz.h"
#include "handoff/translate.h"
#include "handoff/optstr.h"

static int socket_path(void *userdata, int fd, char **ret)
{
        if (fd % 2)
                return -EBADF;
        *ret = text_copy("/run/vm/qmp");
        return 0;
}

static bool maps_file(void *userdata, const char *path)
{
        return strlen(path) % 2;
}

static const struct cmdline_plan plan = {
        .binary = "/new/qemu",
        .machine = "pc-q35-10.0",
        .device_fd = 10,
        .cpr_path = "/run/c/cpr",
        .main_path = "/run/c/main",
        .first_listener_fd = 13,
        .socket_path = socket_path,
        .maps_file = maps_file,
};

/* A line that was not refused: the destination's vsock devices get our fd and no other. */
static void expect_our_device(const struct cmdline *c)
{
        for (size_t i = 1; i + 1 < c->n; i++) {
                _cleanup_free_ char *driver = NULL, *fd = NULL;

                if (!STREQ(c->argv[i], "-device"))
                        continue;
                driver = optstr_first(c->argv[i + 1], "driver");
                fd = optstr_get(c->argv[i + 1], "vhostfd");
                if (driver && strncmp(driver, "vhost-vsock", 11) == 0)
                        FUZZ_EXPECT(fd && STREQ(fd, "10"));
        }
}

static void make(const struct cmdline *source)
{
        struct cmdline out = {}, again = {};
        struct cmdline_facts facts = {}, more = {};
        struct findings fs = {}, none = {};

        FUZZ_EXPECT(cmdline_make(source, &plan, &out, &facts, &fs) == 0);
        FUZZ_EXPECT(out.argv && out.argv[out.n] == NULL && facts.n_listeners <= LISTENERS_MAX);
        if (fs.n_blockers == 0) {
                expect_our_device(&out);
                /* The next handoff's source has the line made by this one. */
                FUZZ_EXPECT(cmdline_make(&out, &plan, &again, &more, &none) == 0);
                FUZZ_EXPECT(more.n_vsock == facts.n_vsock && more.n_devices == facts.n_devices);
        }
        cmdline_done(&out);
        cmdline_done(&again);
        cmdline_facts_done(&facts);
        cmdline_facts_done(&more);
        findings_done(&fs);
        findings_done(&none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = fuzz_text(data, size);
        struct cmdline source = {};
        struct failure f = {};

        for (size_t i = 0; i < size; i++)
                if (text[i] == '\n')
                        text[i] = '\0';
        if (cmdline_parse(text, size ? size + 1 : 0, &source, &f) < 0)
                return 0;
        make(&source);
        cmdline_done(&source);
        return 0;
}
