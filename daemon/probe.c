/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/probe.h"

#include "common/kernel.h"

#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define DEVICE       "/dev/vhost-vsock"
#define REPLY_MAX    (256U << 10)
#define BINARIES_MAX 32
#define PROBE_USEC   (30 * USEC_PER_SEC)

struct probe {
        struct daemon *daemon;
        pid_t child;
        int fd; /* what the child writes: the reply as JSON */
        char *text;
        size_t size;
        sd_event_source *io, *timer;
        probe_done_t done;
        void *userdata;
};

static json_object *probe_kernel(void)
{
        json_object *o = json_object_new_object();
        struct kernel k;
        char problem[sizeof(k.problem.what) + sizeof(k.problem.remedy) + 2];

        kernel_probe(DEVICE, &k);
        json_add_str(o, "release", k.release);
        json_add_bool(o, "resetOwner", k.reset_owner);
        json_add_bool(o, "reclaim", k.reclaim);
        if (k.problem.error) {
                snprintf(problem, sizeof(problem), "%s%s%s", k.problem.what, k.problem.remedy[0] ? "; " : "",
                         k.problem.remedy);
                json_add_str(o, "problem", problem);
        }
        return o;
}

/* Runs cprd-inspect, and reads the one object that it writes. */
static json_object *run_inspect(const char *binary)
{
        char text[16384];
        size_t got = 0;
        int fds[2];
        pid_t child;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return NULL;
        child = fork();
        if (child == 0) {
                dup2(fds[1], STDOUT_FILENO);
                execl(INSPECT_PATH, "cprd-inspect", binary, NULL);
                _exit(127);
        }
        close(fds[1]);
        while (child > 0 && got < sizeof(text) - 1) {
                ssize_t n = read(fds[0], text + got, sizeof(text) - 1 - got);

                if (n <= 0)
                        break;
                got += (size_t)n;
        }
        close(fds[0]);
        if (child > 0)
                waitpid(child, NULL, 0);
        text[got] = '\0';
        return json_tokener_parse(text);
}

static json_object *probe_binary(const char *binary)
{
        json_object *o = run_inspect(binary), *finding, *findings;

        if (o)
                return o;
        o = json_object_new_object();
        finding = json_object_new_object();
        findings = json_object_new_array();
        json_add_str(finding, "id", "inspect");
        json_add_str(finding, "severity", "blocker");
        json_add_str(finding, "what", "it cannot be looked at: " INSPECT_PATH " has failed");
        json_add_str(finding, "remedy", "see that cprd is installed completely");
        json_object_array_add(findings, finding);
        json_add_str(o, "binary", binary);
        json_add(o, "findings", findings);
        return o;
}

/* Those of the allow-list that exist, and are for this machine. */
static json_object *default_binaries(struct daemon *d)
{
        json_object *list = json_object_new_array();
        struct utsname name;

        uname(&name);
        for (size_t i = 0; i < json_object_array_length(d->config.binaries); i++) {
                glob_t found = {};

                glob(json_object_get_string(json_object_array_get_idx(d->config.binaries, i)), GLOB_NOSORT,
                     NULL, &found);
                for (size_t j = 0; j < found.gl_pathc && json_object_array_length(list) < BINARIES_MAX; j++) {
                        const char *system = strstr(found.gl_pathv[j], "/qemu-system-");

                        if (!system || STREQ(system + strlen("/qemu-system-"), name.machine))
                                json_object_array_add(list, json_object_new_string(found.gl_pathv[j]));
                }
                globfree(&found);
        }
        return list;
}

/* In the child. */
static void probe_all(struct daemon *d, json_object *binaries, int out)
{
        _cleanup_json_ json_object *reply = json_object_new_object(), *all = NULL;
        json_object *list = json_object_new_array();
        const char *text;
        size_t size;

        all = binaries ? json_object_get(binaries) : default_binaries(d);
        json_add(reply, "kernel", probe_kernel());
        for (size_t i = 0; i < json_object_array_length(all) && i < BINARIES_MAX; i++)
                json_object_array_add(
                        list, probe_binary(json_object_get_string(json_object_array_get_idx(all, i))));
        json_add(reply, "binaries", list);
        text = json_object_to_json_string_length(reply, JSON_C_TO_STRING_PLAIN, &size);
        for (size_t at = 0; at < size;) {
                ssize_t n = write(out, text + at, size - at);

                if (n <= 0)
                        break;
                at += (size_t)n;
        }
}

static void probe_free(struct probe *p)
{
        sd_event_source_disable_unref(p->io);
        sd_event_source_disable_unref(p->timer);
        close_fd(p->fd);
        if (p->child > 0) {
                /* Its own process group: whatever it has started goes with it. */
                kill(-p->child, SIGKILL);
                kill(p->child, SIGKILL);
                waitpid(p->child, NULL, 0);
        }
        free(p->text);
        free(p);
}

void probe_cancel(struct probe *p)
{
        probe_free(p);
}

static void probe_end(struct probe *p, const char *problem)
{
        _cleanup_json_ json_object *reply = NULL;
        struct failure f = {};

        if (!problem && p->text)
                reply = json_tokener_parse(p->text);
        if (!reply)
                failure_set(&f, EIO, "the probe failed: %s", problem ?: "its child ended too early");
        p->done(reply, &f, p->userdata);
        probe_free(p);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        probe_end(userdata, "it took too long");
        return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct probe *p = userdata;
        char chunk[4096];
        ssize_t n = read(fd, chunk, sizeof(chunk));
        char *more;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                probe_end(p, n < 0 ? strerror(errno) : NULL);
                return 0;
        }
        more = p->size + (size_t)n < REPLY_MAX ? realloc(p->text, p->size + (size_t)n + 1) : NULL;
        if (!more) {
                probe_end(p, "its answer is too long");
                return 0;
        }
        p->text = more;
        memcpy(p->text + p->size, chunk, (size_t)n);
        p->size += (size_t)n;
        p->text[p->size] = '\0';
        return 0;
}

static int spawn(struct probe *p, json_object *binaries)
{
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        p->child = fork();
        if (p->child < 0) {
                close(fds[0]);
                close(fds[1]);
                return -errno;
        }
        if (p->child == 0) {
                sigset_t none;

                sigemptyset(&none);
                sigprocmask(SIG_SETMASK, &none, NULL);
                setpgid(0, 0);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                probe_all(p->daemon, binaries, fds[1]);
                _exit(0);
        }
        close(fds[1]);
        p->fd = fds[0];
        return 0;
}

int probe_start(struct daemon *d, json_object *binaries, probe_done_t done, void *userdata,
                struct probe **ret, struct failure *f)
{
        struct probe *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        *p = (struct probe){.daemon = d, .fd = -EBADF, .done = done, .userdata = userdata};
        r = spawn(p, binaries);
        if (r >= 0)
                r = sd_event_add_io(d->event, &p->io, p->fd, EPOLLIN, on_io, p);
        if (r >= 0)
                r = sd_event_add_time_relative(d->event, &p->timer, CLOCK_BOOTTIME, PROBE_USEC, 0, on_timer,
                                               p);
        if (r < 0) {
                probe_free(p);
                return failure_set(f, r, "cannot start the probe: %s", strerror(-r));
        }
        *ret = p;
        return 0;
}
