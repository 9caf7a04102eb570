/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/threads.h"
#include "test.h"

#include <fcntl.h>
#include <linux/ioprio.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* A process with the threads of a QEMU: main, RCU, two vCPUs, an iothread. It tells their ids over a pipe. */
enum { RCU, VCPU_0, VCPU_1, IOTHREAD, N_THREADS };

struct qemu {
        struct process process;
        pid_t tids[N_THREADS];
        json_object *cpus, *iothreads;
};

static void *tell_tid(void *pipe)
{
        pid_t tid = gettid();

        EXPECT(write(*(int *)pipe, &tid, sizeof(tid)) == sizeof(tid));
        for (;;)
                pause();
}

static void run_threads(int pipe)
{
        pthread_t thread;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; i < N_THREADS; i++)
                EXPECT_INT(pthread_create(&thread, NULL, tell_tid, &pipe), 0);
        for (;;)
                pause();
}

static int compare_tids(const void *a, const void *b)
{
        return *(const pid_t *)a - *(const pid_t *)b;
}

static json_object *threads_json(const char *format, ...)
{
        va_list ap;
        char text[256];

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        return json_tokener_parse(text);
}

static struct qemu qemu_start(void)
{
        struct qemu q = {.process = PROCESS_NULL};
        int pipe[2];
        pid_t pid;

        EXPECT_INT(pipe2(pipe, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0)
                run_threads(pipe[1]);
        for (int i = 0; i < N_THREADS; i++)
                EXPECT(read(pipe[0], &q.tids[i], sizeof(pid_t)) == sizeof(pid_t));
        qsort(q.tids, N_THREADS, sizeof(pid_t), compare_tids);
        close(pipe[0]);
        close(pipe[1]);
        EXPECT_INT(process_open(&q.process, pid, 0, NULL), 0);
        q.cpus = threads_json("[{\"cpu-index\":0,\"thread-id\":%d},{\"cpu-index\":1,\"thread-id\":%d}]",
                              q.tids[VCPU_0], q.tids[VCPU_1]);
        q.iothreads = threads_json("[{\"id\":\"io\",\"thread-id\":%d}]", q.tids[IOTHREAD]);
        return q;
}

static void qemu_done(struct qemu *q)
{
        kill(q->process.pid, SIGKILL);
        waitpid(q->process.pid, NULL, 0);
        process_close(&q->process);
        json_object_put(q->cpus);
        json_object_put(q->iothreads);
}

static int cpus_of(pid_t tid)
{
        cpu_set_t cpus;

        EXPECT_INT(sched_getaffinity(tid, sizeof(cpus), &cpus), 0);
        return CPU_COUNT(&cpus);
}

static void pin(pid_t tid, size_t cpu)
{
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(cpu, &cpus);
        EXPECT_INT(sched_setaffinity(tid, sizeof(cpus), &cpus), 0);
}

static void carry_over(struct qemu *from, struct qemu *to)
{
        _cleanup_(threads_done) struct threads source = {}, destination = {};

        EXPECT_INT(threads_read(&from->process, from->cpus, from->iothreads, &source, NULL), 0);
        EXPECT_INT(threads_read(&to->process, to->cpus, to->iothreads, &destination, NULL), 0);
        EXPECT_INT(threads_apply(&source, &destination, NULL), 0);
}

static void each_thread_gets_its_counterparts(void)
{
        _cleanup_(qemu_done) struct qemu source = qemu_start(), destination = qemu_start();
        const struct sched_param none = {};
        int all = cpus_of(0);

        pin(source.tids[VCPU_1], 0);
        /* Like a main thread that was given a nice value late: the destination's threads have inherited
         * it. */
        EXPECT_INT(setpriority(PRIO_PROCESS, (id_t)source.process.pid, 5), 0);
        if (geteuid() == 0) /* undoing it takes a privilege */
                for (int i = 0; i < N_THREADS; i++)
                        EXPECT_INT(setpriority(PRIO_PROCESS, (id_t)destination.tids[i], 3), 0);
        EXPECT_INT(sched_setscheduler(source.tids[IOTHREAD], SCHED_BATCH, &none), 0);
        EXPECT(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, source.tids[VCPU_0],
                       IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6)) == 0);
        carry_over(&source, &destination);
        EXPECT_INT(cpus_of(destination.tids[VCPU_1]), 1);
        EXPECT_INT(cpus_of(destination.tids[VCPU_0]), all);
        EXPECT_INT(getpriority(PRIO_PROCESS, (id_t)destination.process.pid), 5);
        EXPECT_INT(sched_getscheduler(destination.tids[IOTHREAD]), SCHED_BATCH);
        EXPECT_INT(sched_getscheduler(destination.tids[RCU]), SCHED_OTHER);
        EXPECT_INT(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, destination.tids[VCPU_0]),
                   IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
        for (int i = 0; i < N_THREADS; i++)
                EXPECT_INT(getpriority(PRIO_PROCESS, (id_t)destination.tids[i]), 0);
}

/* The ids come over QMP, from a process that may name those of another. */
static void threads_of_others_are_not_believed(void)
{
        _cleanup_(qemu_done) struct qemu q = qemu_start();
        _cleanup_(threads_done) struct threads threads = {};
        _cleanup_json_ json_object *init = threads_json("[{\"cpu-index\":0,\"thread-id\":1}]");
        _cleanup_json_ json_object *main_thread =
                threads_json("[{\"cpu-index\":0,\"thread-id\":%d}]", q.process.pid);
        _cleanup_json_ json_object *strange = threads_json("{\"thread-id\":[]}");
        struct failure f = {};

        EXPECT_INT(threads_read(&q.process, init, q.iothreads, &threads, &f), -EBADMSG);
        EXPECT_INT(threads_read(&q.process, main_thread, q.iothreads, &threads, NULL), -EBADMSG);
        EXPECT_INT(threads_read(&q.process, strange, q.iothreads, &threads, NULL), -EBADMSG);
        EXPECT_INT(threads_read(&q.process, NULL, q.iothreads, &threads, NULL), -EBADMSG);
}

int main(void)
{
        TEST(each_thread_gets_its_counterparts);
        TEST(threads_of_others_are_not_believed);
        return 0;
}
