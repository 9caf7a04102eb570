/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/children.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct child {
        struct child *next; /* in order of request */
        struct children *all;
        child_work_t work;
        json_object *input;
        child_done_t done; /* NULL: already called, or cancelled */
        void *userdata;
        pid_t pid; /* 0: waiting for its turn */
        int pidfd, out;
        char *text;
        size_t size;
        sd_event_source *io, *exit, *timer;
};

struct children {
        sd_event *event;
        struct child *list;
        sd_event_source *pump;
};

static void child_free(struct child *c)
{
        struct child **at = &c->all->list;

        while (*at != c)
                at = &(*at)->next;
        *at = c->next;
        sd_event_source_disable_unref(c->io);
        sd_event_source_disable_unref(c->exit);
        sd_event_source_disable_unref(c->timer);
        json_object_put(c->input);
        close_fd(c->pidfd);
        close_fd(c->out);
        free(c->text);
        free(c);
}

static void pump_later(struct children *cs)
{
        sd_event_source_set_enabled(cs->pump, SD_EVENT_ONESHOT);
}

/* It leads a process group of its own, so that everything it has started goes with it. */
static void child_kill(struct child *c)
{
        kill(-c->pid, SIGKILL);
        kill(c->pid, SIGKILL);
}

/* Its answer is there or will not come. If it has been started, it is freed once it has exited. */
static void child_settle(struct child *c)
{
        c->done = NULL;
        c->io = sd_event_source_disable_unref(c->io);
        c->timer = sd_event_source_disable_unref(c->timer);
        c->out = close_fd(c->out);
        if (c->pid > 0)
                child_kill(c);
        else
                child_free(c);
}

void child_cancel(struct child *c)
{
        child_settle(c);
}

static void child_answer(struct child *c, const char *problem)
{
        _cleanup_json_ json_object *answer = NULL;
        child_done_t done = c->done;
        void *userdata = c->userdata;
        struct failure f = {};

        if (!problem && c->text)
                answer = json_tokener_parse(c->text);
        if (!answer)
                failure_set(&f, EIO, "%s", problem ?: "a child process of cprd ended without an answer");
        child_settle(c);
        done(answer, &f, userdata);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        struct child *c = userdata;

        child_answer(c, c->pid > 0 ? "it took too long" : "cprd is busy with too many requests of this kind");
        return 0;
}

/* Returns 1: something came; 0: nothing for now; -1: that was all, and the answer has been delivered. */
static int child_read(struct child *c)
{
        char chunk[4096];
        ssize_t n = read(c->out, chunk, sizeof(chunk));
        const char *problem = n < 0 ? strerror(errno) : NULL;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n > 0 && c->size + (size_t)n >= CHILD_TEXT_MAX)
                problem = "the answer is too long";
        if (n <= 0 || problem) {
                child_answer(c, problem);
                return -1;
        }
        c->text = mem_resize(c->text, c->size + (size_t)n + 1);
        memcpy(c->text + c->size, chunk, (size_t)n);
        c->size += (size_t)n;
        c->text[c->size] = '\0';
        return 1;
}

static int on_output(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        child_read(userdata);
        return 0;
}

static int on_exit_watch(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        struct child *c = userdata;
        struct children *cs = c->all;

        /* Its output may still be in the pipe. */
        while (c->done && child_read(c) > 0)
                ;
        if (c->done)
                child_answer(c, NULL);
        waitpid(c->pid, NULL, WNOHANG);
        child_free(c);
        pump_later(cs);
        return 0;
}

static void write_answer(json_object *answer, int out)
{
        size_t size;
        const char *text = json_object_to_json_string_length(
                answer, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);

        for (size_t at = 0; at < size;) {
                ssize_t n = write(out, text + at, size - at);

                if (n <= 0)
                        return;
                at += (size_t)n;
        }
}

/* In the child. Closes the devices in custody, which it would otherwise keep open. */
static void run_work(struct child *c, int out)
{
        sigset_t none;

        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        if (out != 3)
                dup3(out, 3, O_CLOEXEC);
        close_range(4, ~0U, 0);
        write_answer(c->work(c->input), 3);
        _exit(0);
}

static int start(struct child *c)
{
        int fds[2];
        int r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        c->pid = fork();
        if (c->pid == 0)
                run_work(c, fds[1]);
        close(fds[1]);
        c->out = fds[0];
        if (c->pid < 0) {
                c->pid = 0;
                return -errno;
        }
        fcntl(c->out, F_SETFL, O_NONBLOCK);
        c->pidfd = pidfd_open(c->pid, 0);
        r = c->pidfd < 0 ? -errno
                         : sd_event_add_io(c->all->event, &c->exit, c->pidfd, EPOLLIN, on_exit_watch, c);
        return r < 0 ? r : sd_event_add_io(c->all->event, &c->io, c->out, EPOLLIN, on_output, c);
}

/* Starts as many as may run. From the event loop, so that no callback runs inside its caller's own call. */
static int on_pump(sd_event_source *s, void *userdata)
{
        struct children *cs = userdata;
        struct child *next;
        unsigned running = 0;

        for (struct child *c = cs->list; c; c = c->next)
                running += c->pid > 0;
        for (struct child *c = cs->list; c && running < CHILDREN_MAX; c = next) {
                int r;

                next = c->next;
                if (c->pid > 0)
                        continue;
                r = start(c);
                running += c->pid > 0;
                if (r < 0)
                        child_answer(c, strerror(-r));
        }
        return 0;
}

struct child *child_run(struct children *cs, child_work_t work, json_object *input, child_done_t done,
                        void *userdata)
{
        struct child *c = mem_new(1, sizeof(*c)), **at = &cs->list;
        int r;

        *c = (struct child){.all = cs, .work = work, .input = input, .done = done, .userdata = userdata};
        c->pidfd = c->out = -EBADF;
        while (*at)
                at = &(*at)->next;
        *at = c;
        r = sd_event_add_time_relative(cs->event, &c->timer, CLOCK_BOOTTIME, CHILD_USEC, 0, on_timer, c);
        if (r < 0)
                abort(); /* out of memory is the only way for this to fail */
        pump_later(cs);
        return c;
}

struct children *children_new(sd_event *event)
{
        struct children *cs = mem_new(1, sizeof(*cs));

        cs->event = event;
        if (sd_event_add_defer(event, &cs->pump, on_pump, cs) < 0)
                abort();
        sd_event_source_set_enabled(cs->pump, SD_EVENT_OFF);
        return cs;
}

struct children *children_free(struct children *cs)
{
        if (!cs)
                return NULL;
        while (cs->list) {
                if (cs->list->pid > 0)
                        child_kill(cs->list);
                child_free(cs->list);
        }
        sd_event_source_disable_unref(cs->pump);
        free(cs);
        return NULL;
}
