/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Injection torture: a multi-threaded target computes checksums in integer and vector registers, makes system
 * calls that get interrupted, and takes signals, while calls are injected into its main thread. A third of
 * the injectors are killed at a random moment. The target's results stay right, and it never crashes or
 * hangs.
 *
 * test-inject [INJECTIONS]
 */

#include "handoff/inject.h"
#include "test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

typedef double vector __attribute__((vector_size(32)));

/* Shared with the target. */
struct board {
        volatile bool stop;
        volatile uint64_t rounds[4]; /* user code, ppoll, nanosleep with signals, other thread */
        volatile uint64_t wrong;
        volatile uint64_t signals;
};

static struct board *board;

static void count_signal(int signal)
{
        board->signals++;
}

/* Values that live in vector registers across many instructions: any foreign register spoils the sum. Those
 * of AVX have halves that the old SSE state does not hold. */
#define DEFINE_VECTOR_SUM(name, attributes)                                                                  \
        __attribute__((noinline)) attributes static double name(unsigned n)                                  \
        {                                                                                                    \
                vector a = {1, 2, 3, 4}, b = {0.5, 0.25, 0.125, 0.0625}, s = {};                             \
                                                                                                             \
                for (unsigned i = 0; i < n; i++) {                                                           \
                        s += a * b;                                                                          \
                        b = -b;                                                                              \
                        a += 1.0;                                                                            \
                }                                                                                            \
                return s[0] + s[1] * 2 + s[2] * 3 + s[3] * 4;                                                \
        }

DEFINE_VECTOR_SUM(vector_sum_sse, )
DEFINE_VECTOR_SUM(vector_sum_avx, __attribute__((target("avx"))))

static double vector_sum(unsigned n)
{
        return __builtin_cpu_supports("avx") ? vector_sum_avx(n) : vector_sum_sse(n);
}

__attribute__((noinline)) static uint64_t integer_sum(unsigned n)
{
        uint64_t a = 1, b = 2, c = 3, d = 5, e = 7, g = 11;

        for (unsigned i = 0; i < n; i++) {
                a = a * 6364136223846793005ULL + b;
                b ^= a >> 7, c += b * 3, d ^= c << 9, e += d, g ^= e + a;
        }
        return a ^ b ^ c ^ d ^ e ^ g;
}

static void check(bool right)
{
        if (!right)
                board->wrong++;
}

static void *other_thread(void *unused)
{
        const double v = vector_sum(1000);

        while (!board->stop) {
                check(vector_sum(1000) == v);
                board->rounds[3]++;
                usleep(100);
        }
        return NULL;
}

static void round_of_target(double v, uint64_t u, int event)
{
        struct timespec nap = {.tv_nsec = 300000};
        struct pollfd none = {.fd = event, .events = POLLIN};
        uint64_t value = 1;

        errno = 4242;
        check(vector_sum(100000) == v);
        check(integer_sum(3000) == u);
        check(errno == 4242);
        board->rounds[0]++;
        /* ppoll() is what a QEMU waits in; it ends with a timeout, or with EINTR by one of our own signals.
         */
        check(ppoll(&none, 1, &nap, NULL) == 0 || errno == EINTR);
        board->rounds[1]++;
        raise(SIGUSR1);
        check(write(event, &value, sizeof(value)) == sizeof(value));
        check(read(event, &value, sizeof(value)) == sizeof(value) && value == 1);
        check(nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL) == 0 || errno == EINTR);
        board->rounds[2]++;
}

static int target(void)
{
        const double v = vector_sum(100000);
        const uint64_t u = integer_sum(3000);
        int event = eventfd(0, EFD_NONBLOCK);
        pthread_t thread;

        signal(SIGUSR1, count_signal);
        signal(SIGUSR2, count_signal);
        pthread_create(&thread, NULL, other_thread, NULL);
        while (!board->stop)
                round_of_target(v, u, event);
        pthread_join(thread, NULL);
        return 0;
}

/* One injection of ioctl(FIONREAD) on a pipe with 5 bytes, and one that fails. */
static int inject_once(pid_t pid, int pipe_fd)
{
        struct process p = PROCESS_NULL;
        struct tracee t = {};
        struct injection calls[2] = {INJECT_IOCTL(pipe_fd, FIONREAD), INJECT_IOCTL(pipe_fd, FIONCLEX)};
        struct injection bad = {.nr = SYS_close, .arguments = {(uint64_t)-1}};
        struct failure f = {};
        uint64_t deadline = now_usec() + 5 * USEC_PER_SEC;
        int r = process_open(&p, pid, 0, &f);

        calls[0].payload_size = sizeof(int);
        if (r >= 0)
                r = tracee_attach(&t, &p, 0, &f);
        if (r >= 0)
                r = tracee_stop(&t, deadline, &f);
        if (r >= 0)
                r = inject_calls(&t, calls, 2, deadline, &f);
        if (r >= 0 && inject_calls(&t, &bad, 1, deadline, NULL) != -EBADF)
                r = -EPROTO;
        tracee_detach(&t, deadline);
        process_close(&p);
        if (r < 0)
                fprintf(stderr, "injection: %s\n", f.what);
        return r;
}

/* Runs injections until it is done, or killed half-way. */
static void injector(pid_t pid, int pipe_fd, bool doomed)
{
        if (tracee_setup() < 0)
                _exit(2);
        do
                if (inject_once(pid, pipe_fd) < 0)
                        _exit(1);
        while (doomed);
        _exit(0);
}

static void torture(pid_t target_pid, int pipe_fd, int injections)
{
        for (int i = 0; i < injections; i++) {
                bool doomed = i % 3 == 0;
                pid_t pid = fork();
                int status;

                if (pid == 0)
                        injector(target_pid, pipe_fd, doomed);
                if (i % 7 == 0)
                        kill(target_pid, SIGUSR2);
                if (doomed) {
                        usleep((useconds_t)(random() % 6000));
                        kill(pid, SIGKILL);
                }
                EXPECT(waitpid(pid, &status, 0) == pid);
                EXPECT(doomed ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
                EXPECT(kill(target_pid, 0) == 0 && waitpid(target_pid, NULL, WNOHANG) == 0);
        }
}

static void wait_for_progress(void)
{
        for (size_t i = 0; i < ELEMENTSOF(board->rounds); i++) {
                uint64_t before = board->rounds[i];

                for (int tries = 0; tries < 500 && board->rounds[i] == before; tries++)
                        usleep(10000);
                EXPECT(board->rounds[i] > before);
        }
}

/* A thread with a shadow stack would die of the call's `ret`. */
static void shadow_stack_is_refused(void)
{
        static const char *const status[] = {"Name:\tq\nx86_Thread_features:\tshstk wrss \nShdPnd:\t0\n",
                                             "Name:\tshstk\nx86_Thread_features:\t\nNote:\tshstk\n"};
        char directory[] = "/tmp/test-inject-XXXXXX", path[64];

        EXPECT(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/status", directory);
        for (size_t i = 0; i < ELEMENTSOF(status); i++) {
                struct process p = {.pid = getpid(), .pidfd = -EBADF, .proc_fd = open(directory, O_PATH)};
                struct tracee t = {.process = &p};
                struct failure f = {};
                FILE *file = fopen(path, "w");

                fputs(status[i], file);
                fclose(file);
                EXPECT(inject_prepare(&t, &f) < 0); /* there is no "maps" */
                EXPECT_INT(strstr(f.what, "shadow stack") != NULL, i == 0);
                close(p.proc_fd);
        }
        unlink(path);
        rmdir(directory);
}

int main(int argc, char *argv[])
{
        int injections = argc > 1 ? atoi(argv[1]) : 300, fds[2], status;
        pid_t pid;

        TEST(shadow_stack_is_refused);
        srandom(1);
        board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        EXPECT(board != MAP_FAILED && pipe(fds) == 0 && write(fds[1], "12345", 5) == 5);
        pid = fork();
        if (pid == 0)
                _exit(target());
        wait_for_progress();
        torture(pid, fds[0], injections);
        wait_for_progress();
        board->stop = true;
        EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
        printf("%d injections, a third of the injectors killed: %llu rounds of the target, %llu signals, %llu wrong\n",
               injections, (unsigned long long)board->rounds[0], (unsigned long long)board->signals,
               (unsigned long long)board->wrong);
        EXPECT(board->wrong == 0);
        return 0;
}
