/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tries to break out of cprd-handoff's sandbox, and that what the stages need still works in it. Each attempt
 * is made outside first, where it must succeed: otherwise it would show nothing. */

#include "handoff/sandbox.h"

#include "test.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define EXIT_UNSUPPORTED 77 /* what Meson takes for "skipped" */

/* ---- attempts: 0, or the errno that they failed with ---- */

static int failed(long result)
{
        return result < 0 ? errno : 0;
}

static int try_fork(void)
{
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        return pid < 0 ? errno : failed(waitpid(pid, NULL, 0));
}

/* In a process of its own, if there can be one; its status is then the errno. */
static int try_exec(void)
{
        int status = 0;
        pid_t pid = fork();

        if (pid <= 0) {
                execl("/bin/true", "true", NULL);
                if (pid == 0)
                        _exit(errno);
                return errno;
        }
        waitpid(pid, &status, 0);
        return WEXITSTATUS(status);
}

static int try_create(void)
{
        int fd = open("/tmp/cprd-test-sandbox", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), r = failed(fd);

        close_fd(fd);
        unlink("/tmp/cprd-test-sandbox");
        return r;
}

static int try_unnamed_file(void)
{
        int fd = open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600), r = failed(fd);

        close_fd(fd);
        return r == EOPNOTSUPP ? 0 : r;
}

static int try_internet(void)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r = failed(fd);

        close_fd(fd);
        return r;
}

static int try_unshare(void)
{
        return failed(unshare(CLONE_NEWNS));
}

static int try_mount(void)
{
        return failed(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

static int try_chroot(void)
{
        return failed(chroot("/"));
}

static int try_setuid(void)
{
        return failed(setresuid((uid_t)-1, (uid_t)-1, 0));
}

static const struct {
        const char *what;
        int (*attempt)(void);
} attempts[] = {
        {"fork", try_fork},
        {"exec", try_exec},
        {"create a file", try_create},
        {"unnamed file", try_unnamed_file},
        {"internet socket", try_internet},
        {"mount namespace", try_unshare},
        {"mount", try_mount},
        {"chroot", try_chroot},
        {"another user", try_setuid},
};

/* ---- what must work ---- */

static void expect_files(void)
{
        int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        char byte;

        EXPECT(fd >= 0 && read(fd, &byte, 1) == 1);
        close_fd(fd);
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        EXPECT(fd >= 0 && write(fd, "x", 1) == 1);
        close_fd(fd);
}

static void expect_sockets(void)
{
        int a = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int b = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 4 /* NETLINK_SOCK_DIAG */);

        EXPECT(a >= 0 && b >= 0);
        close_fd(a);
        close_fd(b);
}

/* @pid belongs to another user, as a QEMU does. */
static void expect_tracing(pid_t pid)
{
        int status, fd = pidfd_open(pid, 0), theirs;
        cpu_set_t cpus;
        char word[8];
        struct iovec here = {word, sizeof(word)}, there = {(void *)(uintptr_t)&attempts, sizeof(word)};

        EXPECT(fd >= 0);
        theirs = pidfd_getfd(fd, 2, 0);
        EXPECT(theirs >= 0);
        close_fd(theirs);
        EXPECT(process_vm_readv(pid, &here, 1, &there, 1, 0) == sizeof(word));
        EXPECT(sched_getaffinity(pid, sizeof(cpus), &cpus) == 0);
        EXPECT(sched_setaffinity(pid, sizeof(cpus), &cpus) == 0);
        EXPECT(ptrace(PTRACE_SEIZE, pid, 0, 0) == 0);
        EXPECT(ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0);
        EXPECT(waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status));
        EXPECT(ptrace(PTRACE_DETACH, pid, 0, 0) == 0);
        EXPECT(pidfd_send_signal(fd, SIGKILL, NULL, 0) == 0);
        close_fd(fd);
}

/* ---- the test ---- */

/* A process of another user, that has become one already. */
static pid_t start_other(void)
{
        int ready[2];
        char byte;
        pid_t pid;

        EXPECT(pipe2(ready, O_CLOEXEC) == 0);
        pid = fork();
        if (pid == 0) {
                if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
                        _exit(1);
                close(ready[1]);
                for (;;)
                        pause();
        }
        EXPECT(pid > 0);
        close(ready[1]);
        EXPECT(read(ready[0], &byte, 1) == 0); /* it has closed its end */
        close(ready[0]);
        return pid;
}

static void test_break_out(void)
{
        struct failure f = {};
        pid_t other = start_other();

        for (size_t i = 0; i < ELEMENTSOF(attempts); i++) {
                int r = attempts[i].attempt();

                if (r)
                        FAIL("outside, %s fails: %s", attempts[i].what, strerror(r));
        }
        if (sandbox_enter(&f) < 0)
                FAIL("%s", f.what);
        for (size_t i = 0; i < ELEMENTSOF(attempts); i++) {
                int r = attempts[i].attempt();

                if (r != EPERM)
                        FAIL("inside, %s: %s", attempts[i].what, r ? strerror(r) : "succeeds");
        }
        expect_files();
        expect_sockets();
        expect_tracing(other);
}

static void test_capabilities(void)
{
        struct failure f = {};
        cap_flag_value_t value = CAP_SET;
        cap_t have;

        EXPECT_INT(sandbox_enter(&f), 0);
        have = cap_get_proc();
        EXPECT(have && cap_get_flag(have, CAP_SYS_ADMIN, CAP_PERMITTED, &value) == 0);
        EXPECT_INT(value, CAP_CLEAR);
        EXPECT(cap_get_flag(have, CAP_SYS_PTRACE, CAP_EFFECTIVE, &value) == 0);
        EXPECT_INT(value, CAP_SET);
        cap_free(have);
}

/* The sandbox has no way out, so each test is a process; and none for a leak check at its end. */
static int in_process(void (*test)(void))
{
        int status = 0;
        pid_t pid = fork();

        if (pid == 0) {
                test();
                fflush(NULL);
                _exit(0);
        }
        EXPECT(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int main(void)
{
        if (geteuid() != 0)
                return EXIT_UNSUPPORTED;
        EXPECT_INT(in_process(test_break_out), 0);
        EXPECT_INT(in_process(test_capabilities), 0);
        return 0;
}
