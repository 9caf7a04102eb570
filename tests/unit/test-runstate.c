/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/runstate.h"

#include "test.h"

#include <fcntl.h>
#include <sys/socket.h>

#define STOP  "{\"event\": \"STOP\"}\n"
#define RESET "{\"event\": \"RESET\", \"data\": {\"guest\": true}}\n"

/* What a source has said since `migrate`, and the run state that is noted of it; "": the handoff goes back,
 * its guest on; NULL: forward. */
static const struct {
        const char *said, *state;
} cases[] = {
        {"", NULL},
        {STOP, NULL},
        {RESET STOP, NULL},
        {STOP RESET, ""},
        {STOP "{\"event\": \"POWERDOWN\"}\n", ""},
        {"{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}}\n" STOP, "guest-panicked"},
        {STOP "{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\"}}\n", "guest-panicked"},
        {"{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"run\"}}\n" STOP, NULL},
        {"{\"event\": \"WATCHDOG\", \"data\": {\"action\": \"pause\"}}\n" STOP, "watchdog"},
        {"{\"event\": \"WATCHDOG\", \"data\": {\"action\": \"none\"}}\n" STOP, NULL},
        {"{\"event\": \"WATCHDOG\", \"data\": 7}\n" STOP, NULL},
        {STOP "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-shutdown\"}}\n",
         "shutdown"},
        {STOP "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-quit\"}}\n",
         NULL},
        {STOP "{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"host-qmp-system-reset\"}}\n", "shutdown"},
};

static void say(int fd, const char *text)
{
        EXPECT(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
}

static void expect_state(const char *said, const char *state)
{
        struct handoff *h = handoff_new("test");
        struct failure f = {};
        int fds[2], r;

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        EXPECT(journal_open(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), true, &h->journal, &f) >= 0);
        EXPECT(qmp_new(fds[0], &h->source.qmp) == 0);
        h->source.events = 1 + 1; /* one event came before `migrate` */
        say(fds[1], STOP);
        say(fds[1], said);
        r = runstate_require_no_late(h, &f);
        EXPECT_INT(r, state ? -ECANCELED : 0);
        if (state)
                EXPECT(f.what[0] && f.remedy[0]);
        EXPECT_STR(h->facts.migration.run_state ?: "", state ?: "");
        handoff_free(h);
        close_fd(fds[1]);
}

static void late_events(void)
{
        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                expect_state(cases[i].said, cases[i].state);
}

int main(void)
{
        TEST(late_events);
        return 0;
}
