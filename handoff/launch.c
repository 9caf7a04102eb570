/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/launch.h"

#include "handoff/credentials.h"
#include "handoff/namespaces.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <sys/capability.h>
#include <sys/personality.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FD_FLOOR 200 /* our fds are moved above this, out of the way of the child's numbers */

/* What the child becomes, read by the parent before it forks: the child must not have to allocate. */
struct twin {
        char *status, *environment, *label;
        char **environ;
        int cwd;
        struct namespaces namespaces;
        uid_t uid[4];
        gid_t gid[4];
        gid_t groups[1024];
        size_t n_groups;
        uint64_t cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient;
        uint64_t umask, no_new_privs;
        struct rlimit limits[RLIM_NLIMITS];
        cpu_set_t cpus;
        int policy, nice;
        struct sched_param scheduling;
        int oom_score_adj;
        unsigned long persona;
};

static void twin_done(struct twin *t)
{
        free(t->status);
        free(t->environment);
        free(t->label);
        free(t->environ);
        close_fd(t->cwd);
        namespaces_close(&t->namespaces);
}

static const char *status_line(const struct twin *t, const char *key)
{
        size_t n = strlen(key);

        for (const char *line = t->status; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, n) == 0 && line[n] == ':')
                        return line + n + 1;
        }
        return "";
}

static uint64_t status_number(const struct twin *t, const char *key, int base)
{
        return strtoull(status_line(t, key), NULL, base);
}

static void read_groups(struct twin *t)
{
        const char *p = status_line(t, "Groups");

        for (char *end; t->n_groups < ELEMENTSOF(t->groups) && *p && *p != '\n'; p = end) {
                unsigned long g = strtoul(p, &end, 10);

                if (end == p)
                        break;
                t->groups[t->n_groups++] = (gid_t)g;
                while (*end == ' ')
                        end++;
        }
}

static void read_credentials(struct twin *t)
{
        if (sscanf(status_line(t, "Uid"), "%u %u %u %u", &t->uid[0], &t->uid[1], &t->uid[2], &t->uid[3]) !=
                    4 ||
            sscanf(status_line(t, "Gid"), "%u %u %u %u", &t->gid[0], &t->gid[1], &t->gid[2], &t->gid[3]) != 4)
                t->uid[0] = t->gid[0] = (uid_t)-1;
        read_groups(t);
        t->cap_inheritable = status_number(t, "CapInh", 16);
        t->cap_permitted = status_number(t, "CapPrm", 16);
        t->cap_effective = status_number(t, "CapEff", 16);
        t->cap_bounding = status_number(t, "CapBnd", 16);
        t->cap_ambient = status_number(t, "CapAmb", 16);
        t->umask = status_number(t, "Umask", 8);
        t->no_new_privs = status_number(t, "NoNewPrivs", 10);
}

static void split_environment(struct twin *t, size_t size)
{
        size_t n = 0;

        for (size_t i = 0; i < size; i++)
                n += t->environment[i] == '\0';
        t->environ = mem_new(n + 1, sizeof(*t->environ));
        n = 0;
        for (char *p = t->environment;
             p < t->environment + size && memchr(p, '\0', size - (size_t)(p - t->environment));
             p += strlen(p) + 1)
                t->environ[n++] = p;
}

static int read_rest(struct twin *t, const struct process *p)
{
        _cleanup_free_ char *oom = NULL, *persona = NULL;

        for (int i = 0; i < RLIM_NLIMITS; i++)
                if (prlimit(p->pid, (__rlimit_resource_t)i, NULL, &t->limits[i]) < 0)
                        return -errno;
        if (sched_getaffinity(p->pid, sizeof(t->cpus), &t->cpus) < 0 ||
            (t->policy = sched_getscheduler(p->pid)) < 0 || sched_getparam(p->pid, &t->scheduling) < 0)
                return -errno;
        t->nice = getpriority(PRIO_PROCESS, (id_t)p->pid);
        if (process_read(p, "oom_score_adj", 64, &oom, NULL) >= 0)
                t->oom_score_adj = atoi(oom);
        if (process_read(p, "personality", 64, &persona, NULL) >= 0)
                t->persona = strtoul(persona, NULL, 16);
        if (process_read(p, "attr/current", 4096, &t->label, NULL) >= 0)
                t->label[strcspn(t->label, "\n")] = '\0';
        return 0;
}

/* All that it gets its rights from. */
static int read_status(struct twin *t, const struct launch *l, struct failure *f)
{
        int r = process_read(l->twin, "status", 65536, &t->status, NULL);

        if (r < 0)
                return failure_set(f, r, "cannot see whose process %d is: %s", l->twin->pid, strerror(-r));
        return credentials_require(t->status, l->credentials, f);
}

static int twin_read(struct twin *t, const struct process *p, struct failure *f)
{
        size_t size = 0;
        int r = process_read(p, "environ", 4U << 20, &t->environment, &size);
        if (r >= 0) {
                split_environment(t, size);
                read_credentials(t);
                r = t->uid[0] == (uid_t)-1 ? -EBADMSG : read_rest(t, p);
        }
        if (r >= 0) {
                t->cwd = openat(p->proc_fd, "cwd", O_PATH | O_DIRECTORY | O_CLOEXEC);
                r = t->cwd < 0 ? -errno : 0;
        }
        if (r >= 0)
                r = namespaces_open(p, &t->namespaces);
        if (r >= 0 && !process_is_alive(p))
                r = -ESRCH;
        return r < 0 ? failure_set(f, r, "cannot read what process %d runs as: %s", p->pid, strerror(-r)) : 0;
}

/* Looked at once the rest has been read, as there is no way back: a user namespace's root is not root here,
 * and its mounts are its own. */
static int require_user_namespace(const struct process *p, struct failure *f)
{
        if (!process_shares_namespace(p, "user"))
                return failure_set(f, EPERM, "process %d runs in another user namespace", p->pid);
        return 0;
}

/* In the child: the step that failed goes up the pipe as a struct failure. */
static void child_fails(int report, const char *step)
{
        struct failure f = {};

        failure_set(&f, errno, "cannot start the destination: %s: %s", step, strerror(errno));
        if (write(report, &f, sizeof(f)) < 0)
                _exit(126);
        _exit(127);
}

#define CHILD_TRY(call, step)                                                                                \
        do {                                                                                                 \
                if ((call) < 0)                                                                              \
                        child_fails(report, (step));                                                         \
        } while (0)

static void child_drop_bounding(const struct twin *t, int report)
{
        for (int c = 0; prctl(PR_CAPBSET_READ, c) >= 0; c++)
                if (!(t->cap_bounding & (1ULL << c)))
                        CHILD_TRY(prctl(PR_CAPBSET_DROP, c), "capability bounding set");
}

static void child_set_capabilities(const struct twin *t, int report)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[2] = {
                {(uint32_t)t->cap_effective, (uint32_t)t->cap_permitted, (uint32_t)t->cap_inheritable},
                {(uint32_t)(t->cap_effective >> 32), (uint32_t)(t->cap_permitted >> 32),
                 (uint32_t)(t->cap_inheritable >> 32)},
        };

        CHILD_TRY((int)syscall(SYS_capset, &header, data), "capabilities");
        for (int c = 0; c < 64; c++)
                if (t->cap_ambient & (1ULL << c))
                        CHILD_TRY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0),
                                  "ambient capabilities");
}

/* An exec by root gives all capabilities of the bounding set, whatever was there before. A root with fewer
 * either has securebits that say it is nobody special, which nothing outside it shows, or has dropped them:
 * its twin must not have them either. */
static void child_be_no_root(const struct twin *t, int report)
{
        if ((t->uid[0] == 0 || t->uid[1] == 0) && t->cap_permitted != t->cap_bounding)
                CHILD_TRY(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED), "securebits");
}

/* Credentials come last: any of the steps before may need ours. */
static void child_set_credentials(const struct twin *t, int report)
{
        CHILD_TRY(setgroups(t->n_groups, t->groups), "setgroups");
        child_be_no_root(t, report);
        child_drop_bounding(t, report);
        CHILD_TRY(prctl(PR_SET_KEEPCAPS, 1), "keep capabilities");
        CHILD_TRY(setresgid(t->gid[0], t->gid[1], t->gid[2]), "setresgid");
        CHILD_TRY(setresuid(t->uid[0], t->uid[1], t->uid[2]), "setresuid");
        child_set_capabilities(t, report);
        if (t->no_new_privs)
                CHILD_TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
}

/* What is done by writing to files in procfs. They are opened before the mounts become the twin's, which may
 * have something else in their place. */
struct child_files {
        int oom_score_adj, label;
};

static struct child_files child_open_files(int report)
{
        struct child_files files = {
                .oom_score_adj = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC),
                .label = open("/proc/thread-self/attr/exec", O_WRONLY | O_CLOEXEC),
        };

        CHILD_TRY(files.oom_score_adj, "/proc/self/oom_score_adj");
        return files;
}

static void child_write(int fd, const char *text, int report)
{
        CHILD_TRY((int)write(fd, text, strlen(text)), text);
}

/* An LSM that confines nobody has no label worth setting, and AppArmor's label is followed by its mode: "name
 * (enforce)". */
static void child_set_label(const struct twin *t, int fd, bool apparmor, int report)
{
        char label[4096];

        if (!t->label || !*t->label || STREQ(t->label, "unconfined"))
                return;
        if (apparmor) {
                snprintf(label, sizeof(label), "exec %s", t->label);
                label[strcspn(label, "(")] = '\0';
                while (*label && label[strlen(label) - 1] == ' ')
                        label[strlen(label) - 1] = '\0';
        } else
                snprintf(label, sizeof(label), "%s", t->label);
        child_write(fd, label, report);
}

static void child_set_process(const struct twin *t, int oom_score_adj, int report)
{
        sigset_t none;

        setsid();
        child_write(oom_score_adj, "1000", report);
        CHILD_TRY(sched_setaffinity(0, sizeof(t->cpus), &t->cpus), "sched_setaffinity");
        CHILD_TRY(sched_setscheduler(0, t->policy, &t->scheduling), "sched_setscheduler");
        CHILD_TRY(setpriority(PRIO_PROCESS, 0, t->nice), "setpriority");
        for (int i = 0; i < RLIM_NLIMITS; i++)
                CHILD_TRY(setrlimit((__rlimit_resource_t)i, &t->limits[i]), "setrlimit");
        personality(t->persona);
        umask((mode_t)t->umask);
        for (int s = 1; s < SIGRTMAX; s++)
                signal(s, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Gives the fds their numbers. All of them, and @report, are above FD_FLOOR. */
static void child_set_fds(const struct launch *l, int report)
{
        int next = 0;

        for (size_t i = 0; i < l->n_fds; i++) {
                CHILD_TRY(dup2(l->fds[i].fd, l->fds[i].number), "dup2");
                if (l->fds[i].number > next)
                        close_range((unsigned)next, (unsigned)l->fds[i].number - 1, 0);
                next = l->fds[i].number + 1;
        }
        if (next < report)
                close_range((unsigned)next, (unsigned)report - 1, 0);
        close_range((unsigned)report + 1, ~0U, 0);
}

static void child_run(const struct launch *l, const struct twin *t, int go, int report)
{
        const bool apparmor = access("/sys/kernel/security/apparmor", F_OK) == 0;
        struct child_files files;
        char c;

        if (read(go, &c, 1) != 1)
                _exit(125); /* cancelled */
        files = child_open_files(report);
        CHILD_TRY(namespaces_enter(&t->namespaces), "namespaces");
        CHILD_TRY(fchdir(t->cwd), "chdir");
        child_set_process(t, files.oom_score_adj, report);
        child_set_label(t, files.label, apparmor, report);
        child_set_fds(l, report);
        child_set_credentials(t, report);
        if (l->in_child)
                l->in_child(l->userdata);
        execve(l->binary, l->argv, t->environ);
        child_fails(report, l->binary);
}

static int open_cgroup(const struct process *p, struct failure *f)
{
        _cleanup_free_ char *cgroup = NULL, *path = NULL;
        int fd, r = process_read(p, "cgroup", 65536, &cgroup, NULL);
        char *own;

        if (r < 0)
                return failure_set(f, r, "cannot read the cgroup of process %d: %s", p->pid, strerror(-r));
        own = strstr(cgroup, "0::/");
        if (!own)
                return failure_set(f, ENOTSUP, "process %d is not in a cgroup v2", p->pid);
        own += 3;
        own[strcspn(own, "\n")] = '\0';
        path = text_print("/sys/fs/cgroup%s/cgroup.procs", own);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 ? failure_set(f, errno, "cannot open %s: %s", path, strerror(errno)) : fd;
}

static int high_fd(int fd)
{
        return fcntl(fd, F_DUPFD_CLOEXEC, FD_FLOOR);
}

static int fork_child(const struct launch *l, const struct twin *t, struct launched *child, struct failure *f)
{
        int go[2] = {-EBADF, -EBADF}, report[2] = {-EBADF, -EBADF};
        pid_t pid;
        int r;

        if (pipe2(go, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0)
                return failure_set(f, errno, "cannot make a pipe: %s", strerror(errno));
        pid = fork();
        if (pid == 0) {
                int mine = high_fd(report[1]);

                close(go[1]);
                child_run(l, t, go[0], mine);
        }
        close(go[0]);
        close(report[1]);
        child->go = go[1];
        child->report = report[0];
        if (pid < 0)
                return failure_set(f, errno, "cannot fork: %s", strerror(errno));
        r = process_open(&child->process, pid, 0, f);
        return r;
}

int launch_prepare(const struct launch *l, struct launched *ret, struct failure *f)
{
        _cleanup_(launch_done) struct launched child = LAUNCHED_NULL;
        _cleanup_(twin_done) struct twin twin = {.cwd = -EBADF, .namespaces = NAMESPACES_NULL};
        struct launch_fd fds[LAUNCH_FDS_MAX];
        struct launch raised = *l;
        _cleanup_close_ int cgroup = -EBADF;
        char number[16];
        int r = read_status(&twin, l, f);

        if (r >= 0)
                r = twin_read(&twin, l->twin, f);
        if (r >= 0)
                r = require_user_namespace(l->twin, f);
        if (r >= 0)
                r = cgroup = open_cgroup(l->twin, f);
        if (r < 0)
                return r;
        for (size_t i = 0; i < l->n_fds; i++)
                fds[i] = (struct launch_fd){high_fd(l->fds[i].fd), l->fds[i].number};
        raised.fds = fds;
        r = fork_child(&raised, &twin, &child, f);
        for (size_t i = 0; i < l->n_fds; i++)
                close_fd(fds[i].fd);
        if (r < 0)
                return r;
        child.oom_score_adj = twin.oom_score_adj;
        snprintf(number, sizeof(number), "%d", child.process.pid);
        if (write(cgroup, number, strlen(number)) < 0)
                return failure_set(f, errno, "cannot move the destination to the source's cgroup: %s",
                                   strerror(errno));
        *ret = child;
        child = LAUNCHED_NULL;
        return 0;
}

void launch_go(struct launched *child)
{
        if (write(child->go, "g", 1) < 0)
                child->go = close_fd(child->go);
        child->go = close_fd(child->go);
}

int launch_report(struct launched *child, struct failure *f)
{
        struct failure said;
        ssize_t n = read(child->report, &said, sizeof(said));

        child->report = close_fd(child->report);
        if (n != (ssize_t)sizeof(said))
                return 0;
        return failure_set(f, said.error, "%s", said.what);
}

void launch_done(struct launched *child)
{
        /* It waits to be told to go, and exits once that can no longer happen. */
        if (child->go >= 0 && child->process.pid > 0) {
                child->go = close_fd(child->go);
                /* Its cgroup is the source's, whose user may have frozen it. */
                pidfd_send_signal(child->process.pidfd, SIGKILL, NULL, 0);
                waitpid(child->process.pid, NULL, 0);
        }
        close_fd(child->go);
        close_fd(child->report);
        process_close(&child->process);
}
