/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/threads.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <sys/syscall.h>

#define THREADS_MAX 4096 /* QEMU allows 4096 vCPUs; a process with more threads is not a QEMU */

void threads_done(struct threads *threads)
{
        for (size_t i = 0; i < threads->n; i++)
                free(threads->list[i].cgroup);
        free(threads->list);
        *threads = (struct threads){};
}

/* ---- reading ---- */

/* "0::/a/b\n" among the lines of /proc/PID/task/TID/cgroup. */
static int read_cgroup(const struct process *p, pid_t tid, char **ret)
{
        _cleanup_free_ char *text = NULL;
        const char *line;
        char path[48];
        int r;

        snprintf(path, sizeof(path), "task/%d/cgroup", tid);
        r = process_read(p, path, 65536, &text, NULL);
        if (r < 0)
                return r;
        line = strstr(text, "0::/");
        *ret = line ? text_copy_part(line + 3, strcspn(line + 3, "\n")) : NULL;
        return 0;
}

static int read_thread(const struct process *p, struct thread *t)
{
        int r = read_cgroup(p, t->tid, &t->cgroup);

        if (r < 0)
                return r;
        if (sched_getaffinity(t->tid, sizeof(t->cpus), &t->cpus) < 0 ||
            syscall(SYS_sched_getattr, t->tid, &t->schedule, sizeof(t->schedule), 0) < 0)
                return -errno;
        t->io_priority = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, t->tid);
        if (t->io_priority < 0 && errno == ENOSYS)
                t->io_priority = 0; /* a kernel without block devices has none */
        return t->io_priority < 0 ? -errno : 0;
}

static int by_tid(const void *a, const void *b)
{
        const struct thread *x = a, *y = b;

        return x->tid < y->tid ? -1 : x->tid > y->tid;
}

/* A thread that ends while it is looked at was one of QEMU's workers, whose number varies. */
static int add_thread(const struct process *p, pid_t tid, struct threads *threads)
{
        struct thread t = {.tid = tid};
        int r = read_thread(p, &t);

        if (r < 0) {
                free(t.cgroup);
                return r == -ESRCH || r == -ENOENT ? 0 : r;
        }
        if (threads->n == THREADS_MAX) {
                free(t.cgroup);
                return -E2BIG;
        }
        snprintf(t.role, sizeof(t.role), tid == p->pid ? "main" : "other");
        threads->list = mem_resize(threads->list, (threads->n + 1) * sizeof(t));
        threads->list[threads->n++] = t;
        return 0;
}

static int list_threads(const struct process *p, struct threads *threads)
{
        _cleanup_close_ int fd = openat(p->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        int r = 0;

        if (!dir)
                return -errno;
        TAKE_FD(fd);
        while (r >= 0 && (entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        r = add_thread(p, atoi(entry->d_name), threads);
        closedir(dir);
        qsort(threads->list, threads->n, sizeof(*threads->list), by_tid);
        return r;
}

static struct thread *thread_of(struct threads *threads, int64_t tid)
{
        for (size_t i = 0; i < threads->n; i++)
                if (threads->list[i].tid == tid)
                        return &threads->list[i];
        return NULL;
}

/* What QMP says about some of them. @key: the member that names one of its kind. */
static int name_threads(struct threads *threads, json_object *list, const char *kind, const char *key)
{
        if (!json_object_is_type(list, json_type_array))
                return -EBADMSG;
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i), *name;
                struct thread *t = thread_of(threads, json_int(o, "thread-id", 0));

                /* TCG may run all vCPUs in one thread: then it counts as the first one's. */
                if (!t || !json_object_object_get_ex(o, key, &name) || STREQ(t->role, "main"))
                        return -EBADMSG;
                if (STREQ(t->role, "other"))
                        snprintf(t->role, sizeof(t->role), "%s %s", kind, json_object_get_string(name) ?: "");
        }
        return 0;
}

int threads_read(const struct process *p, json_object *cpus, json_object *iothreads, struct threads *ret,
                 struct failure *f)
{
        _cleanup_(threads_done) struct threads threads = {};
        int r = list_threads(p, &threads);

        if (r >= 0 && (!threads.n || !process_is_alive(p)))
                r = -ESRCH;
        if (r < 0)
                return failure_set(f, r, "cannot see what the threads of process %d run as: %s", p->pid,
                                   strerror(-r));
        r = name_threads(&threads, cpus, "vCPU", "cpu-index");
        if (r >= 0)
                r = name_threads(&threads, iothreads, "iothread", "id");
        if (r < 0)
                return failure_set(f, r, "process %d names threads over QMP that are not its own", p->pid);
        *ret = threads;
        threads = (struct threads){};
        return 0;
}

/* ---- giving ---- */

static const struct thread *counterpart(const struct threads *threads, const char *role)
{
        for (size_t i = 0; i < threads->n; i++)
                if (STREQ(threads->list[i].role, role))
                        return &threads->list[i];
        return NULL;
}

static int give_cgroup(pid_t tid, const char *cgroup)
{
        _cleanup_free_ char *path = text_print("/sys/fs/cgroup%s/cgroup.threads", cgroup);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd < 0 || dprintf(fd, "%d", tid) < 0 ? -errno : 0;
}

static int give(const struct thread *from, const struct thread *to, const char **ret_what)
{
        int r = 0;

        *ret_what = "cgroup";
        if (from->cgroup && (!to->cgroup || !STREQ(from->cgroup, to->cgroup)))
                r = give_cgroup(to->tid, from->cgroup);
        if (r < 0)
                return r;
        /* After the cgroup, whose cpuset limits them. */
        *ret_what = "CPUs";
        if (!CPU_EQUAL(&from->cpus, &to->cpus) &&
            sched_setaffinity(to->tid, sizeof(from->cpus), &from->cpus) < 0)
                return -errno;
        *ret_what = "scheduling";
        if (memcmp(&from->schedule, &to->schedule, sizeof(from->schedule)) != 0 &&
            syscall(SYS_sched_setattr, to->tid, &from->schedule, 0) < 0)
                return -errno;
        *ret_what = "I/O priority";
        if (from->io_priority != to->io_priority &&
            syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, to->tid, from->io_priority) < 0)
                return -errno;
        return 0;
}

int threads_apply(const struct threads *source, const struct threads *destination, struct failure *f)
{
        for (size_t i = 0; i < destination->n; i++) {
                const struct thread *to = &destination->list[i];
                const struct thread *from = counterpart(source, to->role);
                const char *what;
                int r = from ? give(from, to, &what) : 0;

                if (r < 0) {
                        failure_set(f, r,
                                    "cannot give the destination's thread \"%s\" the %s of the source's: %s",
                                    to->role, what, strerror(-r));
                        return failure_remedy(
                                f,
                                "make sure that the source's thread %d has CPUs and a cgroup that can "
                                "be given to others",
                                from->tid);
                }
        }
        return 0;
}
