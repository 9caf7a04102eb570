/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "orphan.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "unit.h"

const char *const orphan_way_names[ORPHAN_WAYS] = {
        [ORPHAN_EXIT] = "exit",
        [ORPHAN_KILLED] = "SIGKILL",
        [ORPHAN_ZOMBIE] = "zombie",
        [ORPHAN_EXEC] = "execve",
};

/* Never returns. */
static void own_and_die(struct vmm *vmm, enum orphan_way way, uint64_t usec, int mapped_fd)
{
        uint64_t end = test_now() + usec;

        if (mapped_fd >= 0 &&
            mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, mapped_fd, 0) == MAP_FAILED)
                _exit(1);
        if (vmm_take(vmm) < 0)
                _exit(1);
        do
                vmm_pump_wait(vmm, 1);
        while (test_now() < end);
        if (way == ORPHAN_EXEC)
                execl("/proc/self/exe", "vhost-vsock-test", "sleep", "60", NULL);
        if (way == ORPHAN_KILLED)
                raise(SIGKILL);
        _exit(way == ORPHAN_EXEC);
}

static int wait_for_death(pid_t pid, enum orphan_way way, int ready)
{
        struct pollfd p = {.fd = ready, .events = POLLIN};
        siginfo_t info;

        /* The pipe's other end is closed by exec and by exit alike; exit is done only when it can be waited
         * for. */
        if (poll(&p, 1, 5000) != 1)
                return -ETIMEDOUT;
        if (way == ORPHAN_EXEC)
                return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ? -errno : 0;
        if (waitid(P_PID, pid, &info, WEXITED | WNOWAIT) < 0)
                return -errno;
        if (way == ORPHAN_KILLED ? info.si_code != CLD_KILLED
                                 : info.si_code != CLD_EXITED || info.si_status != 0)
                return -ECHILD;
        if (way != ORPHAN_ZOMBIE)
                waitid(P_PID, pid, &info, WEXITED);
        return 0;
}

int orphan_make(struct vmm *vmm, enum orphan_way way, uint64_t usec, int mapped_fd, pid_t *ret_pid)
{
        _cleanup_close_ int ready = -EBADF;
        int fds[2], r;
        pid_t pid;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        fflush(NULL);
        pid = fork();
        if (pid == 0)
                own_and_die(vmm, way, usec, mapped_fd);
        close(fds[1]);
        ready = fds[0];
        if (pid < 0)
                return -errno;
        r = wait_for_death(pid, way, ready);
        if (r < 0) {
                orphan_reap(pid);
                return r;
        }
        *ret_pid = pid;
        return 0;
}

void orphan_reap(pid_t pid)
{
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

/* One orphan, reclaimed, with a connection that must survive. */
static int orphan_once(struct vmm *vmm, struct host_stream *s, enum orphan_way way, uint64_t *ret_usec)
{
        uint64_t start;
        pid_t pid;

        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(orphan_make(vmm, way, 2000, -EBADF, &pid));
        start = test_now();
        EXPECT_OK(vmm_release(vmm));
        *ret_usec += test_now() - start;
        EXPECT_OK(vmm_take(vmm));
        if (way == ORPHAN_ZOMBIE || way == ORPHAN_EXEC)
                orphan_reap(pid);
        return unit_echo(vmm, s, 2000);
}

/* orphan [--loops N] */
int orphan_main(int argc, char **argv)
{
        unsigned loops = argc == 2 && STREQ(argv[0], "--loops") ? atoi(argv[1]) : 50;
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(900, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        for (int way = 0; way < ORPHAN_WAYS; way++) {
                uint64_t usec = 0;

                for (unsigned i = 0; i < loops; i++)
                        if (orphan_once(vmm, &s, way, &usec))
                                return 1;
                printf("orphan: owner dead by %-8s %u times reclaimed, %llu us each, one connection alive\n",
                       orphan_way_names[way], loops, (unsigned long long)(usec / (loops ? loops : 1)));
        }
        return 0;
}
