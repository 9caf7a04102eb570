/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define CASE_USEC                                                                                            \
        (20 * USEC_PER_SEC) /* a case that takes longer hangs; the slowest sane one is 2 s with KASAN */
#define FIRST_CID 1000

static const struct unit_case *const lists[] = {unit_ownership, unit_orphan, unit_traffic, unit_restart,
                                                unit_queue};

int unit_connect(struct vmm *vmm, int type, uint32_t port, int *ret_fd, struct host_stream *ret_stream)
{
        _cleanup_close_ int fd = host_socket(type | SOCK_NONBLOCK);
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int r;

        EXPECT(fd >= 0);
        r = host_connect(fd, vmm_cid(vmm), port);
        if (r < 0 && r != -EINPROGRESS)
                FAIL("connect: %s", strerror(-r));
        EXPECT_SOON(vmm, poll(&p, 1, 0) == 1);
        EXPECT_OK(host_error(fd));
        EXPECT_OK(host_stream_init(fd, ret_stream));
        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* What the echo's progress is counted in: bytes, for seqpacket messages, whose sizes differ between the
 * directions. */
static uint64_t sent_units(const struct host_stream *s)
{
        return s->seqpacket ? s->sent_messages : s->sent;
}

static uint64_t received_units(const struct host_stream *s)
{
        return s->seqpacket ? s->received_messages : s->received;
}

int unit_echo(struct vmm *vmm, struct host_stream *s, uint64_t amount)
{
        uint64_t goal = sent_units(s) + amount, end = test_now() + SOON_USEC;

        while (received_units(s) < goal) {
                ssize_t n = 0;

                if (sent_units(s) < goal)
                        n = host_send(s, goal - sent_units(s));
                if (n < 0 && n != -EAGAIN)
                        FAIL("send: %s", strerror(-n));
                vmm_pump_wait(vmm, 1);
                n = host_receive(s, goal);
                if (n == 0 || (n < 0 && n != -EAGAIN))
                        FAIL("recv: %s", n == 0 ? "end of file" : strerror(-n));
                EXPECT_NO_COMPLAINT(vmm);
                if (test_now() > end)
                        FAIL("echo: %llu of %llu came back", (unsigned long long)received_units(s),
                             (unsigned long long)goal);
        }
        return 0;
}

int unit_in_child(int (*run)(struct vmm *vmm), struct vmm *vmm)
{
        int status;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        if (pid < 0)
                return -1;
        if (pid == 0)
                _exit(run(vmm));
        if (waitpid(pid, &status, 0) < 0)
                return -1;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Waits for @pid at most until @end; kills it then. Returns its exit code; -1: killed, or cannot even be. */
static int reap(pid_t pid, uint64_t end)
{
        uint64_t give_up = end + 5 * USEC_PER_SEC;
        bool killed = false;
        int status;

        while (waitpid(pid, &status, WNOHANG) != pid) {
                if (test_now() > end && !killed) {
                        fprintf(stderr, "        hangs\n");
                        killed = kill(-pid, SIGKILL) == 0;
                }
                if (test_now() > give_up) {
                        fprintf(stderr, "        cannot be killed\n");
                        return -1;
                }
                test_sleep(1000);
        }
        kill(-pid, SIGKILL); /* what it left behind */
        return WIFEXITED(status) && !killed ? WEXITSTATUS(status) : -1;
}

static bool run_case(const struct unit_case *c, uint32_t cid)
{
        uint64_t start = test_now();
        pid_t pid;
        int code;

        fflush(NULL);
        pid = fork();
        if (pid < 0) {
                perror("fork");
                return false;
        }
        if (pid == 0) {
                setpgid(0, 0);
                _exit(c->run(cid) == 0 ? 0 : 1);
        }
        setpgid(pid, pid);
        code = reap(pid, start + CASE_USEC);
        printf("%s  %-34s contract %2d  %5llu ms\n", code == 0 ? "ok  " : "FAIL", c->name, c->point,
               (unsigned long long)((test_now() - start) / USEC_PER_MSEC));
        fflush(stdout);
        return code == 0;
}

static bool is_wanted(const char *name, int argc, char **argv)
{
        for (int i = 0; i < argc; i++)
                if (STREQ(argv[i], name))
                        return true;
        return argc == 0;
}

/* unit [NAME…] */
int unit_main(int argc, char **argv)
{
        unsigned passed = 0, failed = 0;
        uint32_t cid = FIRST_CID;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++) {
                for (const struct unit_case *c = lists[i]; c->name; c++) {
                        cid += 4; /* a case may need CIDs for other guests too */
                        if (!is_wanted(c->name, argc, argv))
                                continue;
                        if (run_case(c, cid))
                                passed++;
                        else
                                failed++;
                }
        }
        printf("unit: %u passed, %u failed\n", passed, failed);
        return failed > 0 || passed == 0;
}
