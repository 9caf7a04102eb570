/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a QEMU says over QMP: greeting, replies, a batch's answers, events. */
#include "fuzz.h"
#include "handoff/qmp.h"

#include <sys/socket.h>

static void look_at_events(struct qmp *q)
{
        static const char *const names[] = {"STOP", "RESUME", "MIGRATION", "SHUTDOWN"};
        uint64_t number;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                json_object *event = qmp_event(q, names[i], 0, &number);

                if (event)
                        qmp_event_usec(event);
        }
        qmp_migration_status(q, qmp_event_count(q) / 2);
}

/* In pieces, and one word of ours for some of them. */
static void converse(struct qmp *q, int peer, const uint8_t *data, size_t size)
{
        struct qmp_question questions[3] = {
                {.command = "query-status"},
                {.command = "qom-list", .arguments = qmp_arguments("path", "/", NULL)},
                {.command = "query-block"}};
        size_t piece = size ? 1 + data[0] * 4U : 1;
        struct failure f = {};

        qmp_send(q, "qmp_capabilities", NULL, -EBADF);
        for (size_t at = 1, n = 0; at < size && qmp_error(q) == 0; at += piece, n++) {
                json_object *reply = NULL;

                fuzz_send(peer, data + at, size - at < piece ? size - at : piece);
                qmp_read(q);
                if (n == 1)
                        qmp_ask(q, questions, ELEMENTSOF(questions));
                if (n >= 1)
                        qmp_answers(q, &f);
                else if (qmp_reply(q, &reply, &f) > 0)
                        json_object_put(reply);
                look_at_events(q);
        }
        qmp_forget(q);
        for (size_t i = 0; i < ELEMENTSOF(questions); i++)
                qmp_question_done(&questions[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(qmp_freep) struct qmp *q = NULL;
        int peer, fd = fuzz_socket(SOCK_STREAM, &peer);

        FUZZ_EXPECT(qmp_new(fd, &q) == 0);
        converse(q, peer, data, size);
        close(peer);
        return 0;
}
