/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/sandbox.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/capability.h>
#include <sys/socket.h>

/* clang-format off */
static const struct {
        cap_value_t capability;
        const char *why;
} kept[] = {
        {CAP_SYS_PTRACE,   "injection, the fds and the memory of the two QEMUs"},
        {CAP_KILL,         "they belong to another user"},
        {CAP_SETUID,       "setfsuid(2): the VM's paths are handled with its user's rights"},
        {CAP_SETGID,       "setfsgid(2), likewise"},
        {CAP_DAC_OVERRIDE, "the channel's directory is that user's; /proc/PID/oom_score_adj, cgroup.threads"},
        {CAP_CHOWN,        "the owner of a listening socket, and of the relay's"},
        {CAP_FOWNER,       "its name in a sticky directory"},
        {CAP_CHECKPOINT_RESTORE, "which files a QEMU has mapped, by /proc/PID/map_files (proc_pid_map_files(5))"},
        {CAP_SYS_NICE,     "SCHED_RR during the pause; the scheduling of the destination's threads"},
        {CAP_SYS_RESOURCE, "the destination's oom_score_adj is lowered to the source's"},
};

/* By name, since not every libseccomp knows them all. */
static const char *const allowed[] = {
        /* memory, time, and the end */
        "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "rseq", "set_robust_list", "getrandom",
        "clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "restart_syscall", "exit", "exit_group",
        /* signals */
        "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "sigaltstack", "signalfd4",
        /* files that are there; openat(2) is below */
        "read", "readv", "pread64", "write", "writev", "pwrite64", "lseek", "close", "fstat", "newfstatat", "lstat", "stat",
        "statx", "fstatfs", "statfs", "access", "faccessat", "faccessat2", "getdents64", "readlink", "readlinkat", "fcntl", "flock",
        "fsync", "fdatasync", "ftruncate", "fadvise64", "dup", "dup2", "dup3", "pipe2", "memfd_create", "ioctl",
        "getcwd", "umask", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "fchownat", "lchown",
        /* sockets; socket(2) is below */
        "bind", "listen", "accept4", "connect", "sendto", "sendmsg", "recvfrom", "recvmsg", "shutdown", "socketpair",
        "getsockopt", "setsockopt", "getsockname", "getpeername", "poll", "ppoll", "eventfd2",
        /* what this process is */
        "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "setfsuid", "setfsgid", "prlimit64", "uname",
        "sysinfo", "prctl", "capget",
        /* the two QEMUs and their threads */
        "ptrace", "wait4", "waitid", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd",
        "pidfd_send_signal", "kill", "tgkill", "sched_getaffinity", "sched_setaffinity", "sched_getscheduler",
        "sched_setscheduler", "sched_getparam", "sched_setparam", "sched_getattr", "sched_setattr", "sched_get_priority_min",
        "sched_get_priority_max", "sched_yield", "getpriority", "setpriority", "ioprio_get", "ioprio_set",
};
/* clang-format on */

/* AF_VSOCK's list of connections is had over netlink. */
static const int families[] = {AF_UNIX, AF_NETLINK};

static int drop_capabilities(void)
{
        cap_t have = cap_get_proc(), want = cap_init();
        int r = have && want ? 0 : -ENOMEM;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(kept); i++) {
                cap_flag_value_t has = CAP_CLEAR;
                cap_value_t c = kept[i].capability;

                if (cap_get_flag(have, c, CAP_PERMITTED, &has) == 0 && has == CAP_SET &&
                    (cap_set_flag(want, CAP_PERMITTED, 1, &c, CAP_SET) < 0 ||
                     cap_set_flag(want, CAP_EFFECTIVE, 1, &c, CAP_SET) < 0))
                        r = -errno;
        }
        if (r >= 0 && cap_set_proc(want) < 0)
                r = -errno;
        cap_free(have);
        cap_free(want);
        return r;
}

static int allow_calls(scmp_filter_ctx filter)
{
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(allowed); i++) {
                int number = seccomp_syscall_resolve_name(allowed[i]);

                if (number != __NR_SCMP_ERROR)
                        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
        }
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(families); i++)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                     SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
        /* Neither bit: O_TMPFILE shares one with O_DIRECTORY. */
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                                     SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT | (O_TMPFILE & ~O_DIRECTORY), 0));
        return r;
}

/* A call that is not allowed fails, rather than kills: a handoff that fails leads back to the source. */
static int filter_calls(void)
{
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
        int r = filter ? allow_calls(filter) : -ENOMEM;

        if (r >= 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r;
}

int sandbox_enter(struct failure *f)
{
        int r = drop_capabilities();

        if (r >= 0)
                r = filter_calls();
        if (r >= 0)
                return 0;
        failure_set(f, r, "cprd-handoff cannot enter its sandbox: %s", strerror(-r));
        return failure_remedy(f, "use a kernel with CONFIG_SECCOMP_FILTER");
}
