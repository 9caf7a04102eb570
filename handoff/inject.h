/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A thread of another process under ptrace(2), and system calls run in it.
 *
 * Only the process whose memory map the kernel recorded may release a vhost device, so the release has to
 * come from inside a QEMU that knows nothing of it. How this is done depends on what happens to that QEMU if
 * we die half-way: the kernel then just resumes it, with whatever registers it has at that instant. So the
 * thread is set up as a signal delivery would: a frame with its whole context (registers, vector state,
 * signal mask) is written below its stack's red zone, and then, in one step, its registers are exchanged for
 * ones that run `syscall; ret` in the target's own code with the frame as stack. The `ret` leads to the C
 * library's sigreturn trampoline, and sigreturn(2) restores the context. If we live, we stop it after the
 * system call and restore the registers ourselves; if not, it does the same without us.
 *
 * The machine-specific part is inject-x86_64.c and gadget-x86_64.c. All of it is for one thread at a time,
 * and all calls on one tracee must come from the thread that attached.
 */

#include "common/process.h"

#include <sys/syscall.h>
#include <sys/types.h>

struct tracee {
        struct process *process; /* borrowed; its main thread is the one traced */
        bool attached;
        bool stopped;
        bool exited;       /* seen by waitpid(): the tracee is gone */
        int status;        /* of the last waitpid() */
        uint64_t signals;  /* let in while it was traced, one bit each: signal 1 is bit 0 */
        uint64_t gadget;   /* `syscall; ret` in its code; 0: not looked for yet */
        uint64_t restorer; /* the sigreturn trampoline in its code */
        uint64_t trap;     /* a byte of its code that is a breakpoint instruction if executed */
        /* It is attached with PTRACE_O_EXITKILL: no need to leave it able to continue without us, which makes
         * injections cheaper. */
        bool dies_with_us;
};

/* One system call. Where there is a payload, its address in the target is the third argument. */
struct injection {
        long nr; /* SYS_… */
        uint64_t arguments[3];
        uint32_t payload_size; /* 0: none */
        uint8_t payload[64];
        int64_t result; /* out: 0 or more, or a negative errno */
};

#define INJECT_IOCTL(fd, request)                                                                            \
        ((struct injection){.nr = SYS_ioctl, .arguments = {(uint64_t)(fd), (request)}})

/* Must be called once, before any tracee is attached: blocks SIGCHLD, and makes the fd that signals
 * changes. */
int tracee_setup(void);
/* Readable (signalfd) when any tracee or child may have changed; drained by tracee_poll(). -EBADF before
 * setup. */
int tracee_signal_fd(void);

/* PTRACE_SEIZE. @options: PTRACE_O_…; TRACESYSGOOD is always set. Nothing stops. */
int tracee_attach(struct tracee *t, struct process *p, int options, struct failure *f);
/* Whether it has changed. Never blocks. Returns 1: yes (t->stopped or t->exited, t->status is new); 0: no. */
int tracee_poll(struct tracee *t);
/* Waits for tracee_poll() to say so, until @deadline (now_usec()). ETIMEDOUT; ESRCH: it has exited. */
int tracee_wait(struct tracee *t, uint64_t deadline);
/* PTRACE_INTERRUPT and the wait for its stop. No-op if it is stopped. */
int tracee_stop(struct tracee *t, uint64_t deadline, struct failure *f);
/* Resumes it: @request is PTRACE_CONT or PTRACE_SYSCALL. @signal is delivered; 0: none. */
int tracee_resume(struct tracee *t, int request, int signal);
/* Stops it if need be and detaches; harmless if it is not attached. ESRCH: it is gone, or going: somebody
 * killed it. */
int tracee_detach(struct tracee *t, uint64_t deadline);
/* The signal that a stop is about to deliver, 0 if the stop is ptrace's own. */
int tracee_stop_signal(const struct tracee *t);

/* 8 bytes of its memory, also of read-only private mappings. */
int tracee_peek(struct tracee *t, uint64_t address, uint64_t *ret);
int tracee_poke(struct tracee *t, uint64_t address, uint64_t value);
/* @size bytes of its memory. */
int tracee_read(struct tracee *t, uint64_t address, void *data, size_t size);

/* Finds gadget and restorer in the target's code. Takes some ms: to be called before the guest is paused. The
 * target may be running, and need not be attached. ENOTSUP: it has no such code. */
int inject_prepare(struct tracee *t, struct failure *f);
/* Runs @n calls, one after the other, in a stopped tracee, which is unchanged afterwards. Stops at the first
 * call that fails and returns its (negative) result; or ESRCH, ETIMEDOUT. The tracee then continues what it
 * was doing, restartable system calls included. */
int inject_calls(struct tracee *t, struct injection *calls, size_t n, uint64_t deadline, struct failure *f);

/* The system call that a traced thread is stopped at. */
struct tracee_call {
        bool entering;             /* or else leaving */
        bool failed;               /* leaving: with an error */
        uint64_t nr, arguments[3]; /* entering */
};

int tracee_get_call(struct tracee *t, struct tracee_call *ret);
/* At a system call's entry stop: makes it not happen. At the exit stop that follows: makes it return @value.
 */
int tracee_skip_call(struct tracee *t);
int tracee_set_result(struct tracee *t, int64_t value);

/* A breakpoint at @address of a stopped tracee: the bytes that were there are in *ret_saved. */
int tracee_set_breakpoint(struct tracee *t, uint64_t address, uint64_t *ret_saved);
/* At the stop it made: puts the bytes back and the program counter to @address. EINVAL: it stopped elsewhere.
 */
int tracee_clear_breakpoint(struct tracee *t, uint64_t address, uint64_t saved);
