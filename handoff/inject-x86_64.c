/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/inject.h"

#include <cpuid.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#define RED_ZONE          128   /* System V ABI: below rsp, and in use */
#define FXSAVE_SIZE       512   /* the legacy part of the vector state */
#define VECTOR_MAX        16384 /* AMX needs 11008 */
#define XSAVE_HEADER_SIZE 64
#define TILE_DATA         (1ULL << 18) /* XFEATURE_MASK_XTILE_DATA, the one that a thread has to ask for */
#define USER_CS           0x33         /* of 64-bit code */
#define KERNEL_SIGSET     8

/* What a system call returns inside the kernel when a signal interrupts it (include/linux/errno.h); user
 * space never sees these, a tracer does. */
#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516

/* What sigreturn(2) takes from the stack (arch/x86/include/asm/sigframe.h); the C library's types of these
 * names are larger than the kernel's. */
struct frame {
        uint64_t restorer; /* where `ret` leads */
        uint64_t flags;
        uint64_t link;
        struct {
                uint64_t sp;
                uint32_t flags;
                uint32_t pad;
                uint64_t size;
        } stack;
        struct sigcontext context;
        uint64_t mask;
        uint8_t siginfo[128];
};

#define FRAME_XSTATE               1      /* UC_FP_XSTATE */
#define FRAME_SS                   6      /* UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS */
#define FRAME_KEEP_ALTERNATE_STACK 0x7fff /* no valid mode: sigreturn leaves the alternate stack as it is */

/* One injection under way. */
struct plan {
        struct user_regs_struct before; /* as it was stopped */
        struct user_regs_struct after;  /* as it is to resume: an interrupted call will be restarted */
        uint64_t mask;
        uint64_t payload; /* address of 64 bytes for the argument */
        uint64_t stack;   /* address of the frame */
        struct frame frame;
        size_t vector_size;
        uint8_t vector[VECTOR_MAX];
};

/* The kernel does this when it returns to user space with no handler to run; here sigreturn or we do it. */
static void restart_interrupted(struct user_regs_struct *regs)
{
        if ((int64_t)regs->orig_rax < 0)
                return;
        switch (-(int64_t)regs->rax) {
        case ERESTARTSYS:
        case ERESTARTNOINTR:
        case ERESTARTNOHAND:
                regs->rax = regs->orig_rax;
                regs->rip -= 2;
                break;
        case ERESTART_RESTARTBLOCK:
                regs->rax = SYS_restart_syscall;
                regs->rip -= 2;
                break;
        }
        regs->orig_rax = (uint64_t)-1;
}

/* How much of the @size bytes of a regset sigreturn takes from a thread that never asked for AMX's tiles: the
 * regset always has room for them. Offsets and sizes are the CPU's (CPUID leaf 0xd). */
static size_t size_without_tiles(const uint8_t *vector, size_t size)
{
        size_t end = FXSAVE_SIZE + XSAVE_HEADER_SIZE;
        uint32_t a, b, c, d;
        uint64_t present, known;

        memcpy(&present, vector + FXSAVE_SIZE, sizeof(present));
        if ((present & TILE_DATA) || !__get_cpuid_count(0xd, 0, &a, &b, &c, &d))
                return size;
        known = (uint64_t)d << 32 | a;
        for (uint32_t i = 2; i < 63; i++)
                if ((known & ~TILE_DATA & 1ULL << i) && __get_cpuid_count(0xd, i, &a, &b, &c, &d) &&
                    (size_t)a + b > end)
                        end = (size_t)a + b;
        return end < size ? end : size;
}

/* Turns the regset's state into what sigreturn wants: a mark says how much there is, and another follows it.
 * Kernels differ in where they look for that: where the first says, or where the state of a thread with tiles
 * ends. The regset carries XCR0 where the mark begins (struct user_xstateregs); User-Mode Linux's has the
 * mark already. */
static void mark_vector(struct plan *plan, size_t size)
{
        uint8_t *place = plan->vector + FXSAVE_SIZE - sizeof(struct _fpx_sw_bytes);
        struct _fpx_sw_bytes mark, ours = {.magic1 = FP_XSTATE_MAGIC1};
        size_t taken = size_without_tiles(plan->vector, size);
        uint32_t end = FP_XSTATE_MAGIC2;

        memcpy(&mark, place, sizeof(mark));
        memcpy(&ours.xstate_bv, place, sizeof(ours.xstate_bv));
        ours.xstate_size = (uint32_t)taken;
        ours.extended_size = ours.xstate_size + (uint32_t)sizeof(end);
        memcpy(plan->vector + size, &end, sizeof(end));
        if (mark.magic1 != FP_XSTATE_MAGIC1) {
                memcpy(place, &ours, sizeof(ours));
                memcpy(plan->vector + taken, &end, sizeof(end));
        }
        plan->vector_size = size + sizeof(end);
        plan->frame.flags = FRAME_SS | FRAME_XSTATE;
}

/* Reads the vector state in the layout that sigreturn wants: what XSAVE stores, marked at its end. */
static int read_vector(pid_t tid, struct plan *plan)
{
        /* The regset is read in whole 8 bytes only; the mark at its end needs 4. */
        struct iovec v = {.iov_base = plan->vector, .iov_len = sizeof(plan->vector) - sizeof(uint64_t)};

        if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &v) >= 0 && v.iov_len > FXSAVE_SIZE) {
                mark_vector(plan, v.iov_len);
                return 0;
        }
        plan->vector_size = FXSAVE_SIZE;
        plan->frame.flags = FRAME_SS;
        return ptrace(PTRACE_GETFPREGS, tid, 0, plan->vector) < 0 ? -errno : 0;
}

static void fill_context(struct plan *plan, uint64_t vector)
{
        const struct user_regs_struct *r = &plan->after;

        plan->frame.stack.flags = FRAME_KEEP_ALTERNATE_STACK;
        plan->frame.mask = plan->mask;
        plan->frame.context = (struct sigcontext){
                .r8 = r->r8,
                .r9 = r->r9,
                .r10 = r->r10,
                .r11 = r->r11,
                .r12 = r->r12,
                .r13 = r->r13,
                .r14 = r->r14,
                .r15 = r->r15,
                .rdi = r->rdi,
                .rsi = r->rsi,
                .rbp = r->rbp,
                .rbx = r->rbx,
                .rdx = r->rdx,
                .rax = r->rax,
                .rcx = r->rcx,
                .rsp = r->rsp,
                .rip = r->rip,
                .eflags = r->eflags,
                .cs = (unsigned short)r->cs,
                .__pad0 = (unsigned short)r->ss,
                .__fpstate_word = vector,
        };
}

/* Lays the frame out below the red zone, from the top: payload, vector state, frame. */
static int write_frame(struct tracee *t, struct plan *plan)
{
        struct iovec local[2], remote[2];
        uint64_t at = plan->before.rsp - RED_ZONE;
        uint64_t vector;

        plan->payload = at = (at - sizeof(((struct injection *)NULL)->payload)) & ~63ULL;
        vector = at = (at - plan->vector_size) & ~63ULL;
        /* As a call leaves it: 8 bytes off a multiple of 16. */
        plan->stack = ((at - sizeof(plan->frame)) & ~15ULL) - 8;
        plan->frame.restorer = t->dies_with_us ? t->trap : t->restorer;
        fill_context(plan, vector);
        local[0] = (struct iovec){&plan->frame, sizeof(plan->frame)};
        remote[0] = (struct iovec){(void *)plan->stack, sizeof(plan->frame)};
        local[1] = (struct iovec){plan->vector, plan->vector_size};
        remote[1] = (struct iovec){(void *)vector, plan->vector_size};
        if (process_vm_writev(t->process->pid, local, 2, remote, 2, 0) !=
            (ssize_t)(sizeof(plan->frame) + plan->vector_size))
                return -EFAULT;
        return 0;
}

static int make_plan(struct tracee *t, struct plan *plan, struct failure *f)
{
        pid_t tid = t->process->pid;
        int r;

        if (ptrace(PTRACE_GETREGS, tid, 0, &plan->before) < 0 ||
            ptrace(PTRACE_GETSIGMASK, tid, (void *)KERNEL_SIGSET, &plan->mask) < 0)
                return failure_set(f, errno, "cannot read the registers of process %d: %s", tid,
                                   strerror(errno));
        if ((plan->before.cs & 0xffff) != USER_CS)
                return failure_set(f, ENOTSUP, "process %d does not run 64-bit code", tid);
        plan->after = plan->before;
        restart_interrupted(&plan->after);
        r = read_vector(tid, plan);
        if (r >= 0)
                r = write_frame(t, plan);
        if (r < 0)
                return failure_set(f, r, "cannot save the context of process %d on its stack: %s", tid,
                                   strerror(-r));
        return 0;
}

static int set_registers(pid_t tid, struct user_regs_struct *regs)
{
        return ptrace(PTRACE_SETREGS, tid, 0, regs) < 0 ? -errno : 0;
}

static int set_mask(pid_t tid, uint64_t mask)
{
        return ptrace(PTRACE_SETSIGMASK, tid, (void *)KERNEL_SIGSET, &mask) < 0 ? -errno : 0;
}

/* To the next entry or exit of a system call. Every signal is blocked, so no other stop can be a
 * signal. */
static int to_syscall_stop(struct tracee *t, uint64_t deadline)
{
        do {
                int r = tracee_resume(t, PTRACE_SYSCALL, 0);

                if (r >= 0)
                        r = tracee_wait(t, deadline);
                if (r < 0)
                        return r;
        } while (WSTOPSIG(t->status) != (SIGTRAP | 0x80));
        return 0;
}

/* Through the call and its `ret` to the trap: one stop instead of two, for a target that need not outlive us.
 */
static int to_trap(struct tracee *t, uint64_t deadline)
{
        int r = tracee_resume(t, PTRACE_CONT, 0);

        if (r >= 0)
                r = tracee_wait(t, deadline);
        if (r >= 0 && tracee_stop_signal(t) != SIGTRAP)
                return -EPROTO;
        if (r >= 0) /* this SIGTRAP was ours: a later detach must not deliver it */
                t->status = PTRACE_EVENT_STOP << 16 | SIGTRAP << 8 | 0x7f;
        return r;
}

static int run_call(struct tracee *t, uint64_t deadline)
{
        int r;

        if (t->dies_with_us)
                return to_trap(t, deadline);
        r = to_syscall_stop(t, deadline);
        return r < 0 ? r : to_syscall_stop(t, deadline);
}

static int run_one(struct tracee *t, const struct plan *plan, struct injection *call, bool first,
                   uint64_t deadline)
{
        struct user_regs_struct regs = plan->before;
        struct iovec local = {call->payload, call->payload_size};
        struct iovec remote = {(void *)plan->payload, call->payload_size};
        int r;

        if (call->payload_size &&
            process_vm_writev(t->process->pid, &local, 1, &remote, 1, 0) != (ssize_t)call->payload_size)
                return -EFAULT;
        regs.rip = t->gadget;
        regs.rsp = plan->stack;
        regs.rax = (uint64_t)call->nr;
        regs.rdi = call->arguments[0];
        regs.rsi = call->arguments[1];
        regs.rdx = call->payload_size ? plan->payload : call->arguments[2];
        regs.orig_rax = (uint64_t)-1; /* otherwise the kernel would restart the interrupted call here */
        r = set_registers(t->process->pid, &regs);
        if (r >= 0 && first)
                /* After the registers: sigreturn restores the mask too. */
                r = set_mask(t->process->pid, ~(1ULL << (SIGTRAP - 1)));
        if (r >= 0)
                r = run_call(t, deadline);
        if (r < 0)
                return r;
        if (ptrace(PTRACE_GETREGS, t->process->pid, 0, &regs) < 0)
                return -errno;
        call->result = (int64_t)regs.rax;
        return 0;
}

int inject_calls(struct tracee *t, struct injection *calls, size_t n, uint64_t deadline, struct failure *f)
{
        _cleanup_free_ struct plan *plan = mem_new(1, sizeof(*plan));
        int r, undone;

        r = inject_prepare(t, f);
        if (r >= 0)
                r = make_plan(t, plan, f);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n && r >= 0; i++) {
                r = run_one(t, plan, &calls[i], i == 0, deadline);
                if (r < 0)
                        failure_set(f, r, "cannot run a system call in process %d: %s", t->process->pid,
                                    strerror(-r));
                else if (calls[i].result < 0)
                        r = failure_set(f, (int)calls[i].result,
                                        "system call %ld (%#lx, %#lx) in process %d: %s", calls[i].nr,
                                        (long)calls[i].arguments[0], (long)calls[i].arguments[1],
                                        t->process->pid, strerror((int)-calls[i].result));
        }
        if (!t->stopped)
                return r; /* gone, or hanging in the call: sigreturn restores it then */
        undone = set_mask(t->process->pid, plan->mask);
        if (undone >= 0)
                undone = set_registers(t->process->pid, &plan->after);
        return undone < 0 ? failure_set(f, undone, "cannot restore the registers: %s", strerror(-undone)) : r;
}

/* For kernels without PTRACE_GET_SYSCALL_INFO (User-Mode Linux 6.12). At an entry rax is -ENOSYS; so it is at
 * the exit of a call that was skipped, whose number is -1 then. */
static int call_from_registers(struct tracee *t, struct tracee_call *ret)
{
        struct user_regs_struct regs;

        if (ptrace(PTRACE_GETREGS, t->process->pid, 0, &regs) < 0)
                return -errno;
        *ret = (struct tracee_call){
                .entering = (int64_t)regs.rax == -ENOSYS && (int64_t)regs.orig_rax >= 0,
                .failed = (int64_t)regs.rax < 0,
                .nr = regs.orig_rax,
                .arguments = {regs.rdi, regs.rsi, regs.rdx},
        };
        return 0;
}

int tracee_get_call(struct tracee *t, struct tracee_call *ret)
{
        struct __ptrace_syscall_info info;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, t->process->pid, sizeof(info), &info) < 0)
                return errno == EIO ? call_from_registers(t, ret) : -errno;
        *ret = (struct tracee_call){.entering = info.op == PTRACE_SYSCALL_INFO_ENTRY};
        if (ret->entering) {
                ret->nr = info.entry.nr;
                memcpy(ret->arguments, info.entry.args, sizeof(ret->arguments));
        } else
                ret->failed = info.op != PTRACE_SYSCALL_INFO_EXIT || info.exit.is_error;
        return 0;
}

int tracee_skip_call(struct tracee *t)
{
        return ptrace(PTRACE_POKEUSER, t->process->pid, offsetof(struct user_regs_struct, orig_rax), -1L) < 0
                       ? -errno
                       : 0;
}

int tracee_set_result(struct tracee *t, int64_t value)
{
        return ptrace(PTRACE_POKEUSER, t->process->pid, offsetof(struct user_regs_struct, rax), value) < 0
                       ? -errno
                       : 0;
}

int tracee_set_breakpoint(struct tracee *t, uint64_t address, uint64_t *ret_saved)
{
        int r = tracee_peek(t, address, ret_saved);

        return r < 0 ? r : tracee_poke(t, address, (*ret_saved & ~0xffULL) | 0xcc);
}

int tracee_clear_breakpoint(struct tracee *t, uint64_t address, uint64_t saved)
{
        struct user_regs_struct regs;
        int r;

        if (ptrace(PTRACE_GETREGS, t->process->pid, 0, &regs) < 0)
                return -errno;
        if (regs.rip != address + 1)
                return -EINVAL;
        regs.rip = address;
        r = set_registers(t->process->pid, &regs);
        return r < 0 ? r : tracee_poke(t, address, saved);
}
