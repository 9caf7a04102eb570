/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Tests of vhost-vsock's VHOST_RESET_OWNER against the contract in kernel/README.md, with a fake VMM (vmm.h)
 * in place of QEMU and a guest. Needs /dev/vhost-vsock and nothing else: run it on the machine whose kernel
 * is in doubt, or, as tests/kernel/run does, as the init of a User-Mode Linux kernel.
 */

#include "test.h"

#include <fcntl.h>
#include <linux/vhost.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>

static const struct command {
        const char *name;
        int (*run)(int argc, char **argv);
        const char *help;
} commands[] = {
        {"unit", unit_main, "[NAME…]: one deterministic test per promise of the contract"},
        {"stress", stress_main,
         "[--seconds N] [--loops N] [--seed N] [--clients N] [--pause USEC] [--hold USEC] [--no-kill]: hand-overs under random "
         "traffic"},
        {"latency", latency_main, "[--loops N]: RESET_OWNER and SET_OWNER, idle and under load"},
        {"orphan", orphan_main, "[--loops N]: the owner dies in every way and the device is reclaimed"},
        {"flood", flood_main,
         "[CALLS]: packets without data to a guest that is stopped, and the memory they cost"},
};

int test_failed(const char *file, int line, const char *what, ...)
{
        char text[512];
        va_list ap;

        va_start(ap, what);
        vsnprintf(text, sizeof(text), what, ap);
        va_end(ap);
        fprintf(stderr, "        %s:%d: %s\n", file, line, text);
        return 1;
}

uint64_t test_now(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * USEC_PER_SEC + t.tv_nsec / NSEC_PER_USEC;
}

void test_sleep(uint64_t usec)
{
        struct timespec t = {.tv_sec = usec / USEC_PER_SEC, .tv_nsec = usec % USEC_PER_SEC * NSEC_PER_USEC};

        while (nanosleep(&t, &t) < 0 && errno == EINTR)
                ;
}

int test_guest(uint32_t cid, struct vmm **ret_vmm)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        EXPECT_OK(vmm_take(vmm));
        *ret_vmm = TAKE_PTR(vmm);
        return 0;
}

int test_reset_owner(int device_fd)
{
        return ioctl(device_fd, VHOST_RESET_OWNER) < 0 ? -errno : 0;
}

int test_set_owner(int device_fd)
{
        return ioctl(device_fd, VHOST_SET_OWNER) < 0 ? -errno : 0;
}

bool test_kernel_fails_fast(void)
{
        struct utsname u;
        unsigned major, minor;

        return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
               (major > 7 || (major == 7 && minor >= 2));
}

static int usage(void)
{
        fprintf(stderr, "usage: vhost-vsock-test COMMAND [ARGUMENTS…]\n");
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                fprintf(stderr, "  %-8s %s\n", commands[i].name, commands[i].help);
        return 2;
}

static int run_command(int argc, char **argv)
{
        if (access(VMM_DEVICE, R_OK | W_OK) < 0) {
                fprintf(stderr, "%s: %s: load the module vhost_vsock, and run this as root\n", VMM_DEVICE,
                        strerror(errno));
                return 77;
        }
        for (size_t i = 0; i < ELEMENTSOF(commands); i++)
                if (STREQ(argv[0], commands[i].name))
                        return commands[i].run(argc - 1, argv + 1);
        return usage();
}

/* ---- as init of a test machine ---- */

static void write_file(const char *path, const char *text)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                fprintf(stderr, "init: %s: %s\n", path, strerror(errno));
}

static void init_machine(void)
{
        static const struct {
                const char *type;
                const char *path;
        } mounts[] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}};
        struct rlimit files = {65536, 65536};
        int console;

        for (size_t i = 0; i < ELEMENTSOF(mounts); i++)
                if (mount(mounts[i].type, mounts[i].path, mounts[i].type, 0, NULL) < 0 && errno != EBUSY)
                        fprintf(stderr, "init: %s: %s\n", mounts[i].path, strerror(errno));
        console = open("/dev/tty0", O_RDWR);
        if (console >= 0) {
                dup2(console, STDOUT_FILENO);
                dup2(console, STDERR_FILENO);
        }
        setrlimit(RLIMIT_NOFILE, &files);
}

static bool same_value(const char *is, const char *wanted)
{
        return STREQ(is, wanted) || (STREQ(is, "N") && STREQ(wanted, "0")) ||
               (STREQ(is, "Y") && STREQ(wanted, "1"));
}

/* MODULE.PARAMETER=VALUE was on the kernel's command line, which ignores what it does not know: did it take
 * effect? Returns false if @word is not of that form. */
static bool is_parameter(const char *word, bool *ret_right)
{
        char module[64], parameter[64], value[64], path[256], is[64] = "missing";
        _cleanup_fclose_ FILE *f = NULL;

        if (sscanf(word, "%63[^.=].%63[^=]=%63s", module, parameter, value) != 3)
                return false;
        snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module, parameter);
        f = fopen(path, "re");
        if (f && fscanf(f, "%63s", is) != 1)
                is[0] = '\0';
        *ret_right = same_value(is, value);
        if (!*ret_right)
                fprintf(stderr, "init: this kernel's parameter %s.%s is %s, not %s\n", module, parameter, is,
                        value);
        return true;
}

/* Copies the kernel's log to /kmsg as it comes: a machine that hangs has left at least that. */
static pid_t start_logger(void)
{
        char record[8192];
        pid_t pid = fork();
        int from, to;

        if (pid != 0)
                return pid;
        from = open("/dev/kmsg", O_RDONLY | O_CLOEXEC);
        to = open("/kmsg", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        for (;;) {
                ssize_t n = read(from, record, sizeof(record));

                if (n < 0 && errno != EPIPE) /* EPIPE: records were overwritten before we came */
                        _exit(1);
                if (n > 0 && write(to, record, n) < 0)
                        _exit(1);
        }
}

/* init [MODULE.PARAMETER=VALUE…] COMMAND…: leaves the exit code in /verdict, and waits to be switched off. */
static void run_init(int argc, char **argv)
{
        char verdict[32];
        bool right = true, one = true;
        int status = -1;
        pid_t pid;

        init_machine();
        start_logger();
        for (; argc > 0 && is_parameter(argv[0], &one); argc--, argv++)
                right = right && one;
        pid = fork();
        if (pid == 0)
                _exit(!right ? 2 : argc > 0 ? run_command(argc, argv) : usage());
        for (pid_t dead = 0; pid > 0 && dead != pid;)
                dead = waitpid(-1, &status, 0);
        snprintf(verdict, sizeof(verdict), "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 255);
        test_sleep(100000); /* for the logger, and for late splats */
        write_file("/verdict", verdict);
        for (;;)
                pause();
}

int main(int argc, char **argv)
{
        if (getpid() == 1)
                run_init(argc - 1, argv + 1);
        if (argc == 3 && STREQ(argv[1], "sleep")) { /* what the orphan tests exec */
                test_sleep(strtoull(argv[2], NULL, 10) * USEC_PER_SEC);
                return 0;
        }
        if (argc < 2)
                return usage();
        return run_command(argc - 1, argv + 1);
}
