/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/process.h"

#include "common/file.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

int process_start_time(int proc_fd, uint64_t *ret)
{
        _cleanup_free_ char *stat = NULL;
        const char *p;
        int r = file_read(proc_fd, "stat", 4096, &stat, NULL);

        if (r < 0)
                return r == -ENOENT ? -ESRCH : r;
        /* The second field is the name in parentheses and may contain anything: count from the last
         * parenthesis. */
        p = strrchr(stat, ')');
        for (int field = 2; p && field < 22; field++) {
                p = strchr(p + 1, ' ');
        }
        if (!p)
                return -EBADMSG;
        *ret = strtoull(p + 1, NULL, 10);
        return 0;
}

static int open_proc(pid_t pid)
{
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/proc/%d", pid);
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int process_open(struct process *p, pid_t pid, uint64_t start_time, struct failure *f)
{
        _cleanup_close_ int pidfd = pid > 0 ? pidfd_open(pid, 0) : (errno = EINVAL, -1);
        struct process found = PROCESS_NULL;
        int r;

        if (pidfd < 0)
                return failure_set(f, errno, "no process %d: %s", pid, strerror(errno));
        r = process_adopt(&found, pidfd, f);
        if (r < 0)
                return r;
        TAKE_FD(pidfd);
        if (start_time && found.start_time != start_time) {
                process_close(&found);
                return failure_set(f, ESRCH, "process %d is gone, and its pid belongs to another process",
                                   pid);
        }
        *p = found;
        return 0;
}

static int pidfd_pid(int pidfd, pid_t *ret)
{
        _cleanup_free_ char *info = NULL;
        char path[48];
        const char *p;
        int r;

        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
        r = file_read(AT_FDCWD, path, 4096, &info, NULL);
        if (r < 0)
                return r;
        p = strstr(info, "\nPid:");
        if (!p)
                return -EBADMSG;
        *ret = atoi(p + 5);
        return *ret > 0 ? 0 : -ESRCH;
}

int process_adopt(struct process *p, int pidfd, struct failure *f)
{
        struct process found = PROCESS_NULL;
        _cleanup_close_ int proc_fd = -EBADF;
        int r = pidfd_pid(pidfd, &found.pid);

        if (r < 0)
                return failure_set(f, r, "not the pidfd of a running process: %s", strerror(-r));
        proc_fd = open_proc(found.pid);
        if (proc_fd < 0)
                return failure_set(f, proc_fd, "cannot look at process %d: %s", found.pid,
                                   strerror(-proc_fd));
        r = process_start_time(proc_fd, &found.start_time);
        if (r < 0)
                return failure_set(f, r, "cannot look at process %d: %s", found.pid, strerror(-r));
        found.pidfd = pidfd;
        /* It is alive now, so what was opened by pid belongs to it. */
        if (!process_is_alive(&found))
                return failure_set(f, ESRCH, "process %d has exited", found.pid);
        found.proc_fd = TAKE_FD(proc_fd);
        *p = found;
        return 0;
}

void process_close(struct process *p)
{
        close_fd(p->pidfd);
        close_fd(p->proc_fd);
        *p = PROCESS_NULL;
}

bool process_is_alive(const struct process *p)
{
        struct pollfd poller = {.fd = p->pidfd, .events = POLLIN};

        return p->pidfd >= 0 && poll(&poller, 1, 0) == 0;
}

bool process_exits(const struct process *p, int msec)
{
        struct pollfd poller = {.fd = p->pidfd, .events = POLLIN};

        return poll(&poller, 1, msec) > 0;
}

int process_read(const struct process *p, const char *file, size_t limit, char **ret, size_t *ret_size)
{
        int r = file_read(p->proc_fd, file, limit, ret, ret_size);

        return r == -ENOENT && !process_is_alive(p) ? -ESRCH : r;
}

int process_readlink(const struct process *p, const char *file, char **ret)
{
        char target[PATH_MAX];
        ssize_t n = readlinkat(p->proc_fd, file, target, sizeof(target) - 1);

        if (n < 0)
                return -errno;
        target[n] = '\0';
        *ret = strdup(target);
        return *ret ? 0 : -ENOMEM;
}

static int find_number(const char *status, const char *key, int base, uint64_t *ret)
{
        size_t n = strlen(key);

        for (const char *line = status; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, n) == 0 && line[n] == ':') {
                        *ret = strtoull(line + n + 1, NULL, base);
                        return 0;
                }
        }
        return -ENOENT;
}

int process_status_number(const struct process *p, const char *key, int base, uint64_t *ret)
{
        _cleanup_free_ char *status = NULL;
        int r = process_read(p, "status", 65536, &status, NULL);

        return r < 0 ? r : find_number(status, key, base, ret);
}

int process_pending_signals(const struct process *p, uint64_t *ret)
{
        _cleanup_free_ char *status = NULL;
        uint64_t thread = 0, shared = 0;
        int r = process_read(p, "status", 65536, &status, NULL);

        if (r >= 0)
                r = find_number(status, "SigPnd", 16, &thread);
        if (r >= 0)
                r = find_number(status, "ShdPnd", 16, &shared);
        *ret = thread | shared;
        return r;
}

bool process_shares_namespace(const struct process *p, const char *name)
{
        struct stat its, ours;
        char path[32];

        snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
        return fstatat(p->proc_fd, path + strlen("/proc/self/"), &its, 0) == 0 && stat(path, &ours) == 0 &&
               its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

int process_get_fd(const struct process *p, int fd)
{
        int got = pidfd_getfd(p->pidfd, fd, 0);

        return got < 0 ? -errno : got;
}
