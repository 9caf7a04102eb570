/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"
#include "handoff/wait.h"

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* A QEMU with one device that has @n queues of @size entries, and of @other the one with the number @at. */
struct queues {
        int n, size, at, other;
};

static void answer(int fd, const struct queues *q, json_object *request)
{
        int number = (int)json_int(json_obj(request, "arguments"), "queue", -1),
            size = number == q->at ? q->other : q->size;
        char text[200];

        if (number >= 0 && number < q->n)
                snprintf(text, sizeof(text), "{\"return\":{\"vring-num\":%d,\"vring-num-default\":%d}}\n",
                         size, size);
        else
                snprintf(text, sizeof(text), "{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}\n");
        if (write(fd, text, strlen(text)) < 0)
                _exit(0);
}

static pid_t start(const struct queues *q, struct qmp **ret)
{
        struct json_tokener *tokener = json_tokener_new();
        int fds[2];
        char byte;
        pid_t pid;

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
                close(fds[0]);
                while (read(fds[1], &byte, 1) == 1) {
                        json_object *request = json_tokener_parse_ex(tokener, &byte, 1);

                        if (request)
                                answer(fds[1], q, request);
                        json_object_put(request);
                }
                _exit(0);
        }
        json_tokener_free(tokener);
        close(fds[1]);
        EXPECT_INT(qmp_new(fds[0], ret), 0);
        return pid;
}

/* What is found; the caller's, NULL: nothing. */
static char *compare_kind(const char *kind, struct queues source, struct queues destination)
{
        _cleanup_free_ char *devices = text_print("[{\"path\":\"/p\",\"name\":\"%s\"}]", kind);
        struct handoff *h = handoff_new("test");
        struct failure first = {}, f = {};
        struct match m = {.h = h, .f = &first};
        int journal = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        pid_t pids[2];

        EXPECT(journal_open(journal, true, &h->journal, NULL) >= 0);
        h->step.deadline = now_usec() + 20 * USEC_PER_SEC;
        pids[0] = start(&source, &h->source.qmp);
        pids[1] = start(&destination, &h->destination.qmp);
        m.source[MATCH_VIRTIO].reply = json_tokener_parse(devices);
        m.destination[MATCH_VIRTIO].reply = json_object_get(m.source[MATCH_VIRTIO].reply);
        EXPECT_INT(match_queues(&m, &f), 0);
        for (size_t i = 0; i < 2; i++) {
                kill(pids[i], SIGKILL);
                EXPECT_INT(waitpid(pids[i], NULL, 0), pids[i]);
        }
        qmp_question_done(&m.source[MATCH_VIRTIO]);
        qmp_question_done(&m.destination[MATCH_VIRTIO]);
        handoff_free(h);
        EXPECT(m.n_differences <= 1);
        return m.n_differences ? text_copy(first.what) : NULL;
}

static char *compare(struct queues source, struct queues destination)
{
        return compare_kind("virtio-x", source, destination);
}

static void expect_found(struct queues source, struct queues destination, const char *words)
{
        _cleanup_free_ char *found = compare(source, destination);

        if (!found || !strstr(found, words))
                FAIL("\"%s\", expected \"%s\"", found ?: "(nothing)", words);
}

static void every_queue_is_compared(void)
{
        _cleanup_free_ char *same = compare((struct queues){64, 128, -1, 0}, (struct queues){64, 128, -1, 0}),
                            *more_room =
                                    compare((struct queues){8, 128, -1, 0}, (struct queues){8, 256, -1, 0});

        EXPECT(!same && !more_room);
        expect_found((struct queues){64, 128, 0, 1024}, (struct queues){64, 128, -1, 0}, "queue 0 of");
        expect_found((struct queues){64, 128, 63, 1024}, (struct queues){64, 128, -1, 0},
                     "queue 63 of /p (virtio-x) has 1024 entries in the source, and room for 128");
        expect_found((struct queues){64, 128, -1, 0}, (struct queues){64, 128, 8, 64}, "queue 8 of");
}

static void so_is_their_number(void)
{
        expect_found((struct queues){9, 128, -1, 0}, (struct queues){8, 128, -1, 0},
                     "queue 8 of /p (virtio-x) is in the source only");
        expect_found((struct queues){4, 128, -1, 0}, (struct queues){3, 128, -1, 0}, "queue 3 of");
}

/* A guest that has negotiated less. */
static void a_source_may_have_fewer(void)
{
        _cleanup_free_ char *found = compare((struct queues){3, 128, -1, 0}, (struct queues){17, 128, -1, 0});

        EXPECT(!found);
}

/* Its pairs are alike, and the load makes as many as its guest uses; the last queue is for control. */
static void a_nic_is_compared_by_role(void)
{
        _cleanup_free_ char *more_pairs = compare_kind("virtio-net", (struct queues){9, 256, 8, 64},
                                                       (struct queues){3, 256, 2, 64}),
                            *fewer_pairs = compare_kind("virtio-net", (struct queues){3, 256, 2, 64},
                                                        (struct queues){9, 256, 8, 64}),
                            *larger = compare_kind("virtio-net", (struct queues){9, 256, 5, 1024},
                                                   (struct queues){3, 256, 2, 64});

        EXPECT(!more_pairs && !fewer_pairs);
        EXPECT(larger && strstr(larger, "queue 5 of /p (virtio-net) has 1024 entries"));
}

int main(void)
{
        TEST(every_queue_is_compared);
        TEST(so_is_their_number);
        TEST(a_source_may_have_fewer);
        TEST(a_nic_is_compared_by_role);
        return 0;
}
