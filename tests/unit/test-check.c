/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/check.h"

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* A QEMU that answers everything with nothing, and at the question @word a cprd that cancels instead. */
static void run_qemu(int qmp, int cprd, const char *word)
{
        struct json_tokener *tokener = json_tokener_new();
        static const char reply[] = "{\"return\":{\"running\":true}}\n";
        char byte;

        while (read(qmp, &byte, 1) == 1) {
                json_object *request = json_tokener_parse_ex(tokener, &byte, 1);

                if (!request)
                        continue;
                if (strstr(json_object_to_json_string(request), word))
                        handoff_send(cprd, &HANDOFF_MESSAGE(HANDOFF_ABORT), -EBADF);
                else if (write(qmp, reply, strlen(reply)) < 0)
                        break;
                json_object_put(request);
        }
        _exit(0);
}

static struct handoff *start(const char *word, pid_t *ret_qemu)
{
        struct handoff *h = handoff_new("test");
        int qmp[2], cprd[2], journal = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) == 0);
        EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, cprd) == 0);
        EXPECT(journal_open(journal, true, &h->journal, NULL) >= 0);
        h->order.json = json_tokener_parse("{\"order\":{}}");
        h->step.deadline = now_usec() + 20 * USEC_PER_SEC;
        h->step.flags = CANCELLABLE;
        h->facts.source.version = text_copy("10.0.2");
        h->facts.source.machine = text_copy("pc-q35-10.0");
        h->facts.destination.binary = text_copy("/nothing");
        *ret_qemu = fork();
        EXPECT(*ret_qemu >= 0);
        if (*ret_qemu == 0) {
                close(qmp[0]);
                close(cprd[0]);
                run_qemu(qmp[1], cprd[1], word);
        }
        close(qmp[1]);
        close(cprd[1]);
        h->link.fd = cprd[0];
        EXPECT(qmp_new(qmp[0], &h->source.qmp) == 0);
        EXPECT(process_open(&h->source.process, *ret_qemu, 0, NULL) >= 0);
        return h;
}

static bool has_finding(struct handoff *h, const char *id)
{
        for (size_t i = 0; h->findings.list && i < json_object_array_length(h->findings.list); i++)
                if (STREQ(json_str(json_object_array_get_idx(h->findings.list, i), "id"), id))
                        return true;
        return false;
}

/* @before: a check that came to its end before. */
static void cancel_at(const char *question, const char *id, const char *before)
{
        struct failure f = {};
        pid_t qemu;
        struct handoff *h = start(question, &qemu);

        EXPECT_INT(check_all(h, &f), -ECANCELED);
        EXPECT(has_finding(h, before));
        EXPECT(!has_finding(h, id));
        kill(qemu, SIGKILL);
        waitpid(qemu, NULL, 0);
        handoff_free(h);
}

static void a_check_that_is_cancelled_finds_nothing(void)
{
        cancel_at("query-memdev", "memory", "namespaces");
        cancel_at("aux-ram-share", "aux-ram-share", "memory");
        cancel_at("query-status", "run-state", "memory");
        cancel_at("query-migrate", "migration", "run-state");
        cancel_at("query-chardev", "cut", "migration");
}

int main(void)
{
        TEST(a_check_that_is_cancelled_finds_nothing);
        return 0;
}
