/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/holes.h"

#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define HIGH 40 /* the number of an fd with holes below it */

static size_t count_fds(const struct process *p)
{
        int fd = openat(p->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fdopendir(fd);
        size_t n = 0;

        EXPECT(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

static bool is_fd(const struct process *p, int number)
{
        char path[32], link[64] = "";

        snprintf(path, sizeof(path), "fd/%d", number);
        return readlinkat(p->proc_fd, path, link, sizeof(link) - 1) > 0;
}

/* A process that has an fd at HIGH, and tells when it is there. */
static pid_t start(void)
{
        int ready[2];
        char byte;
        pid_t pid;

        EXPECT(pipe2(ready, O_CLOEXEC) == 0);
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
                if (dup2(0, HIGH) == HIGH && write(ready[1], "", 1) == 1)
                        for (;;)
                                pause();
                _exit(1);
        }
        EXPECT(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
        close(ready[1]);
        return pid;
}

static void holes_are_filled_and_emptied(void)
{
        struct handoff *h = handoff_new("test");
        pid_t pid = start();
        struct failure f = {};
        struct rlimit limit, few;
        size_t before;

        EXPECT(tracee_setup() == 0);
        EXPECT(journal_open(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), true, &h->journal, &f) >= 0);
        EXPECT(process_open(&h->source.process, pid, 0, &f) >= 0);
        h->source.tracee.process = &h->source.process;
        h->step.deadline = now_usec() + 20 * USEC_PER_SEC;
        EXPECT(inject_prepare(&h->source.tracee, &f) >= 0);
        before = count_fds(&h->source.process);
        EXPECT(!is_fd(&h->source.process, HIGH - 1) && !is_fd(&h->source.process, HIGH + 1));
        EXPECT(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0);
        few = (struct rlimit){HIGH + 64, limit.rlim_max};
        EXPECT(prlimit(pid, RLIMIT_NOFILE, &few, NULL) == 0);
        EXPECT_INT(holes_fill(h, &f), -EMFILE);
        EXPECT(f.what[0] && f.remedy[0]);
        EXPECT_INT(count_fds(&h->source.process), before);
        EXPECT(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0);
        EXPECT_INT(holes_fill(h, &f), 0);
        for (int i = 0; i < HIGH + 60; i++)
                EXPECT(is_fd(&h->source.process, i));
        holes_clear(h);
        EXPECT_INT(count_fds(&h->source.process), before);
        EXPECT(is_fd(&h->source.process, HIGH) && !is_fd(&h->source.process, HIGH - 1));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        handoff_free(h);
}

int main(void)
{
        TEST(holes_are_filled_and_emptied);
        return 0;
}
