/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/inject.h"

#include <poll.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

static int signal_fd = -EBADF;

int tracee_setup(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return signal_fd < 0 ? -errno : 0;
}

int tracee_signal_fd(void)
{
        return signal_fd;
}

int tracee_attach(struct tracee *t, struct process *p, int options, struct failure *f)
{
        if (ptrace(PTRACE_SEIZE, p->pid, 0, options | PTRACE_O_TRACESYSGOOD) < 0) {
                uint64_t tracer = 0;
                int r = -errno;

                if (process_status_number(p, "TracerPid", 10, &tracer) >= 0 && tracer)
                        failure_set(f, r, "process %d is traced by process %d already", p->pid, (int)tracer);
                failure_set(f, r, "cannot trace process %d: %s", p->pid, strerror(-r));
                failure_remedy(f, "end the debugger on it, and make sure that nothing forbids ptrace (Yama "
                                  "kernel.yama.ptrace_scope=3, an LSM)");
                return r;
        }
        t->process = p;
        t->dies_with_us = options & PTRACE_O_EXITKILL;
        t->attached = true;
        t->stopped = t->exited = false;
        /* The pid was the right one only if it is still the same process: ptrace takes no pidfd. */
        if (!process_is_alive(p)) {
                tracee_detach(t, now_usec() + USEC_PER_SEC);
                return failure_set(f, ESRCH, "process %d has exited", p->pid);
        }
        return 0;
}

/* What waitpid() has for us, or 0. */
static pid_t look(const struct tracee *t, int *status)
{
        pid_t pid = t->attached && !t->stopped ? waitpid(t->process->pid, status, WNOHANG | __WALL) : 0;

        return pid < 0 && errno == EINTR ? 0 : pid;
}

int tracee_poll(struct tracee *t)
{
        struct signalfd_siginfo unused;
        int status = 0;
        pid_t pid = look(t, &status);

        if (pid == 0) {
                /* What comes after this is signalled again; what came before is there now. */
                while (read(signal_fd, &unused, sizeof(unused)) > 0)
                        ;
                pid = look(t, &status);
        }
        if (pid == 0)
                return 0;
        t->status = pid < 0 ? 0 : status;
        if (pid < 0 || WIFEXITED(status) || WIFSIGNALED(status)) {
                t->exited = true;
                t->attached = false;
        } else
                t->stopped = true;
        return 1;
}

int tracee_wait(struct tracee *t, uint64_t deadline)
{
        while (!t->stopped) {
                struct pollfd poller = {.fd = signal_fd, .events = POLLIN};
                uint64_t now = now_usec();
                struct timespec left;

                if (t->exited || !t->attached)
                        return -ESRCH;
                if (tracee_poll(t) > 0)
                        continue;
                if (now >= deadline)
                        return -ETIMEDOUT;
                left.tv_sec = (time_t)((deadline - now) / USEC_PER_SEC);
                left.tv_nsec = (long)((deadline - now) % USEC_PER_SEC * NSEC_PER_USEC);
                if (ppoll(&poller, 1, &left, NULL) < 0 && errno != EINTR)
                        return -errno;
        }
        return 0;
}

int tracee_stop(struct tracee *t, uint64_t deadline, struct failure *f)
{
        int r;

        if (t->stopped)
                return 0;
        if (!t->attached)
                return failure_set(f, ESRCH, "the process is not there any more");
        if (ptrace(PTRACE_INTERRUPT, t->process->pid, 0, 0) < 0)
                return failure_set(f, errno, "cannot stop process %d: %s", t->process->pid, strerror(errno));
        r = tracee_wait(t, deadline);
        /* A signal that is being delivered is let in first: an injection in its place would swallow it. The
         * stop that we asked for is still pending. */
        while (r >= 0 && tracee_stop_signal(t)) {
                tracee_resume(t, PTRACE_CONT, tracee_stop_signal(t));
                r = tracee_wait(t, deadline);
        }
        if (r < 0)
                return failure_set(f, r, "process %d did not stop: %s", t->process->pid, strerror(-r));
        return 0;
}

int tracee_resume(struct tracee *t, int request, int signal)
{
        if (!t->stopped)
                return t->exited ? -ESRCH : 0;
        t->stopped = false;
        if (signal > 0)
                t->signals |= 1ULL << (signal - 1);
        if (ptrace(request, t->process->pid, 0, (long)signal) < 0)
                return -errno;
        return 0;
}

int tracee_stop_signal(const struct tracee *t)
{
        int signal = WSTOPSIG(t->status);

        /* A syscall stop has bit 7 (TRACESYSGOOD), an event stop has the event above bit 16. */
        return (signal & 0x80) || (t->status >> 16) ? 0 : signal;
}

int tracee_detach(struct tracee *t, uint64_t deadline)
{
        int r = t->attached ? tracee_stop(t, deadline, NULL) : -ESRCH;

        if (r < 0)
                return r;
        r = ptrace(PTRACE_DETACH, t->process->pid, 0, (long)tracee_stop_signal(t)) < 0 ? -errno : 0;
        t->attached = t->stopped = false;
        return r;
}

int tracee_peek(struct tracee *t, uint64_t address, uint64_t *ret)
{
        errno = 0;
        *ret = (uint64_t)ptrace(PTRACE_PEEKDATA, t->process->pid, address, 0);
        return -errno;
}

int tracee_poke(struct tracee *t, uint64_t address, uint64_t value)
{
        return ptrace(PTRACE_POKEDATA, t->process->pid, address, value) < 0 ? -errno : 0;
}

int tracee_read(struct tracee *t, uint64_t address, void *data, size_t size)
{
        struct iovec local = {.iov_base = data, .iov_len = size};
        struct iovec remote = {.iov_base = (void *)address, .iov_len = size};
        ssize_t n = process_vm_readv(t->process->pid, &local, 1, &remote, 1, 0);

        return n < 0 ? -errno : n == (ssize_t)size ? 0 : -EFAULT;
}
