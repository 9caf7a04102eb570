/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/destination.h"

#include "common/log.h"
#include "handoff/fault.h"
#include "handoff/heap.h"
#include "handoff/launch.h"
#include "handoff/listeners.h"
#include "handoff/source.h"
#include "proto/handoff.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* How long the source is held for it, at most: for as long the source is late with I/O and its monitor. */
#define HOLD_USEC (100 * USEC_PER_MSEC)

/* QEMU prefixes what it says with its own path, and repeats itself on the way up: the first complaint is the
 * cause. */
static void first_complaint(const struct destination *d, char *line, size_t size)
{
        char text[4096];
        ssize_t n = pread(d->log, text, sizeof(text) - 1, 0);
        char *begin = text, *colon;

        text[n > 0 ? n : 0] = '\0';
        while (begin && strstr(begin, "warning:") &&
               strstr(begin, "warning:") < begin + strcspn(begin, "\n")) {
                begin = strchr(begin, '\n');
                begin = begin ? begin + 1 : NULL;
        }
        line[0] = '\0';
        if (!begin || !*begin)
                return; /* it has only warned, or said nothing */
        begin[strcspn(begin, "\n")] = '\0';
        colon = strstr(begin, ": ");
        snprintf(line, size, "%s", begin[0] != '-' && strstr(begin, "qemu") && colon ? colon + 2 : begin);
}

int destination_obituary(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        int status = d->tracee.exited ? d->tracee.status : 0;
        char words[256], how[64] = "has exited";

        if (!d->tracee.exited && waitpid(d->process.pid, &status, WNOHANG | __WALL) > 0)
                d->tracee = (struct tracee){.process = &d->process, .exited = true, .status = status};
        if (WIFSIGNALED(status))
                snprintf(how, sizeof(how), "was killed by SIG%s", sigabbrev_np(WTERMSIG(status)) ?: "?");
        else if (WEXITSTATUS(status))
                snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(status));
        first_complaint(d, words, sizeof(words));
        return failure_set(f, ESRCH, "the destination %s%s%s", how, words[0] ? ": " : "", words);
}

int destination_stop(struct handoff *h, struct failure *f)
{
        struct failure why = {};
        int r = tracee_stop(&h->destination.tracee, h->deadline, &why);

        if (r == -ESRCH)
                return destination_obituary(h, f);
        return r < 0 ? failure_set(f, r, "%s", why.what) : 0;
}

void destination_last_words(struct handoff *h, int msec, struct failure *f)
{
        struct pollfd poller = {.fd = h->destination.process.pidfd, .events = POLLIN};

        if (poll(&poller, 1, msec) > 0)
                destination_obituary(h, f);
}

/* ---- channels ---- */

/* The directory of the channels belongs to whoever the two QEMUs run as, and nobody else may look in: what
 * goes through it is the guest's memory. */
static int make_channels(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;

        if ((mkdir(d->directory, 0700) < 0 && errno != EEXIST) ||
            chown(d->directory, h->source.uid, h->source.gid) < 0)
                return failure_set(f, errno, "cannot make the channels in %s: %s", d->directory,
                                   strerror(errno));
        return 0;
}

static void remove_channels(struct handoff *h)
{
        char path[128];

        if (!h->destination.directory)
                return;
        snprintf(path, sizeof(path), "%s/cpr", h->destination.directory);
        unlink(path);
        snprintf(path, sizeof(path), "%s/main", h->destination.directory);
        unlink(path);
        rmdir(h->destination.directory);
}

void destination_clean_up(struct handoff *h)
{
        listeners_remove(h);
        remove_channels(h);
}

/* ---- launch ---- */

static void listen_in_child(void *userdata)
{
        const struct cmdline_facts *facts = userdata;

        /* Here, and not where they were bound, so that SO_PEERCRED names the destination to whoever connects.
         */
        for (size_t i = 0; i < facts->n_listeners; i++)
                listen(facts->listeners[i].fd_number, 8);
}

/* The source's stdin, stdout or stderr; /dev/null if it has closed it. */
static int standard_fd(const struct process *p, int number)
{
        int fd = process_get_fd(p, number);

        return fd >= 0 ? fd : open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int fork_destination(struct handoff *h, struct launched *child, struct failure *f)
{
        struct destination *d = &h->destination;
        const struct process *source = &h->source.process;
        _cleanup_close_ int in = standard_fd(source, 0), out = standard_fd(source, 1),
                            err = standard_fd(source, 2);
        struct launch_fd fds[5 + LISTENERS_MAX] = {
                {in, 0}, {out, 1}, {d->log, 2}, {h->device, FD_DEVICE}, {err, FD_STDERR}};
        struct launch l = {
                .twin = source,
                .binary = d->binary,
                .argv = d->cmdline.argv,
                .fds = fds,
                .n_fds = 5 + d->facts.n_listeners,
                .in_child = listen_in_child,
                .userdata = &d->facts,
        };

        for (size_t i = 0; i < d->facts.n_listeners; i++)
                fds[5 + i] = (struct launch_fd){d->facts.listeners[i].fd, d->facts.listeners[i].fd_number};
        return launch_prepare(&l, child, f);
}

/* AT_ENTRY of a process that has just executed, as the kernel put it on its stack: where it will begin once
 * the dynamic linker is done. */
static int read_entry(const struct process *p, uint64_t *ret)
{
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r = process_read(p, "auxv", 4096, &data, &size);

        for (size_t at = 0; r >= 0 && at + sizeof(Elf64_auxv_t) <= size; at += sizeof(Elf64_auxv_t)) {
                Elf64_auxv_t entry;

                memcpy(&entry, data + at, sizeof(entry));
                if (entry.a_type == AT_ENTRY) {
                        *ret = entry.a_un.a_val;
                        return 0;
                }
        }
        return r < 0 ? r : -ENOENT;
}

static int check_binary(const struct destination *d, struct failure *f)
{
        struct stat st;

        if (fstatat(d->process.proc_fd, "exe", &st, 0) < 0)
                return failure_set(f, errno, "cannot see the destination's binary: %s", strerror(errno));
        if (st.st_dev != d->file.st_dev || st.st_ino != d->file.st_ino)
                return failure_set(f, ESTALE, "%s was replaced by another file since it was checked",
                                   d->binary);
        return 0;
}

/* Lets the dynamic linker do its work, which is the only other one that writes the slot, and stops at the
 * program's first instruction. */
static int run_to_entry(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        uint64_t entry = 0, saved = 0;
        int r = read_entry(&d->process, &entry);

        if (r >= 0)
                r = tracee_set_breakpoint(&d->tracee, entry, &saved);
        if (r >= 0)
                r = tracee_resume(&d->tracee, PTRACE_CONT, 0);
        if (r >= 0)
                r = tracee_wait(&d->tracee, h->deadline);
        if (r >= 0)
                r = tracee_clear_breakpoint(&d->tracee, entry, saved);
        if (r == -ESRCH)
                return destination_obituary(h, f);
        if (r < 0)
                return failure_set(f, r, "cannot bring the destination to its entry point: %s", strerror(-r));
        d->base = entry - d->slot.entry;
        return 0;
}

int destination_set_shield(struct handoff *h, bool up, struct failure *f)
{
        struct destination *d = &h->destination;
        uint64_t callback = d->base + d->slot.callback, expected = up ? callback : 0, found = 0;
        int r = tracee_peek(&d->tracee, d->base + d->slot.slot, &found);

        if (r >= 0 && found != expected)
                return failure_set(f, EPROTO, "the shield slot of the destination holds %#lx, not %#lx",
                                   (long)found, (long)expected);
        if (r >= 0)
                r = tracee_poke(&d->tracee, d->base + d->slot.slot, up ? 0 : callback);
        if (r < 0)
                return failure_set(f, r, "cannot write the shield slot of the destination: %s", strerror(-r));
        d->shield_up = up;
        return 0;
}

/* From the prepared child to a QEMU at its first instruction, traced, with the shield up. */
static int start_traced(struct handoff *h, struct launched *child, struct failure *f)
{
        struct destination *d = &h->destination;
        json_object *fact;
        int r;

        d->process = child->process;
        child->process = PROCESS_NULL;
        r = tracee_attach(&d->tracee, &d->process, PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC, f);
        if (r < 0)
                return r;
        fact = json_object_new_object();
        json_add_int(fact, "pid", d->process.pid);
        json_add_int(fact, "startTime", (int64_t)d->process.start_time);
        json_add_str(fact, "binary", d->binary);
        d->oom_score_adj = child->oom_score_adj;
        json_add_int(fact, "oomScoreAdj", d->oom_score_adj);
        r = handoff_fact(h, "destination", fact, f);
        if (r < 0)
                return r;
        link_tell(h, HANDOFF_PROCESS, HANDOFF_DESTINATION, 0, d->process.pidfd);
        launch_go(child);
        r = tracee_wait(&d->tracee, h->deadline);
        if (r == -ESRCH && launch_report(child, f) >= 0)
                return destination_obituary(h, f);
        if (r < 0)
                return failure_set(f, r, "the destination does not start: %s", strerror(-r));
        r = check_binary(d, f);
        if (r >= 0)
                r = run_to_entry(h, f);
        if (r >= 0)
                r = inject_prepare(&d->tracee, f); /* now, for the claim is part of the pause */
        /* The control experiment of the tests: without the shield the connections must die. */
        if (r >= 0 && !fault_is_set(h, "no-shield"))
                r = destination_set_shield(h, true, f);
        return r;
}

static int destination_listens(struct handoff *h, void *userdata)
{
        return h->destination.cpr_listening;
}

int destination_launch(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        _cleanup_(launch_done) struct launched child = LAUNCHED_NULL;
        int r = make_channels(h, f);

        if (r >= 0)
                r = listeners_make(h, f);
        if (r < 0)
                return r;
        d->log = memfd_create("destination-log", MFD_CLOEXEC);
        if (d->log < 0)
                return failure_set(f, errno, "cannot make a log for the destination: %s", strerror(errno));
        r = fork_destination(h, &child, f);
        if (r >= 0)
                r = start_traced(h, &child, f);
        listeners_close(h);
        if (r < 0)
                return r;
        d->withholding = true;
        r = tracee_resume(&d->tracee, PTRACE_SYSCALL, 0);
        return r < 0 ? r : wait_until(h, destination_listens, NULL, f);
}

static int destination_has_exited(struct handoff *h, void *userdata)
{
        return h->destination.is_dead;
}

int destination_kill(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        int r = 0;

        if (d->process.pidfd >= 0 && !d->is_dead) {
                bool loaded = h->loaded;

                h->loaded = true; /* this is not about the source */
                pidfd_send_signal(d->process.pidfd, SIGKILL, NULL, 0);
                r = wait_until(h, destination_has_exited, NULL, f);
                h->loaded = loaded;
        }
        if (r < 0)
                return r;
        if (d->process.pid > 0)
                waitpid(d->process.pid, NULL, WNOHANG | __WALL); /* of a recovery it is not the child */
        d->qmp = qmp_free(d->qmp);
        destination_clean_up(h);
        return 0;
}

/* ---- build ---- */

static int record_withheld(struct destination *d, uint64_t request, uint64_t argument)
{
        struct withheld *w = &d->withheld[d->n_withheld];
        uint32_t size = _IOC_DIR(request) & _IOC_WRITE ? _IOC_SIZE(request) : 0;

        if (d->n_withheld == WITHHELD_MAX || size > sizeof(w->payload))
                return -E2BIG;
        *w = (struct withheld){.request = (uint32_t)request, .payload_size = size};
        d->n_withheld++;
        return size ? tracee_read(&d->tracee, argument, w->payload, size) : 0;
}

/* Whether it binds the channel @name. */
static bool binds(struct destination *d, const char *name, uint64_t argument)
{
        struct sockaddr_un address = {};
        size_t size;
        char path[128];

        size = offsetof(struct sockaddr_un, sun_path) + 1 +
               (size_t)snprintf(path, sizeof(path), "%s/%s", d->directory, name);
        return tracee_read(&d->tracee, argument, &address, size) >= 0 && address.sun_family == AF_UNIX &&
               STREQ(address.sun_path, path);
}

/* How far it has come shows in its channels. The CPR channel is the first thing it makes. When it binds the
 * main one, all devices have been made, and the state comes next: the tracing of system calls ends there,
 * before the pause begins. */
static void note_channel(struct destination *d, uint64_t call, uint64_t argument)
{
        d->in_listen = call == SYS_listen && d->cpr_bound;
        if (call != SYS_bind)
                return;
        d->cpr_bound = d->cpr_bound || binds(d, "cpr", argument);
        if (binds(d, "main", argument))
                d->withholding = false;
}

static int on_leaving(struct destination *d, const struct tracee_call *call)
{
        d->cpr_listening = d->cpr_listening || (d->in_listen && !call->failed);
        if (!d->skipping)
                return 0;
        d->skipping = false;
        return tracee_set_result(&d->tracee, 0);
}

static int on_syscall(struct destination *d)
{
        struct tracee_call call;
        int r = tracee_get_call(&d->tracee, &call);

        if (r < 0)
                return r;
        if (!call.entering)
                return on_leaving(d, &call);
        note_channel(d, call.nr, call.arguments[1]);
        /* A pure read passes: QEMU needs the device's features to build the machine. */
        if (call.nr != SYS_ioctl || (int)call.arguments[0] != FD_DEVICE ||
            _IOC_DIR(call.arguments[1]) == _IOC_READ)
                return 0;
        d->skipping = true;
        r = record_withheld(d, call.arguments[1], call.arguments[2]);
        return r < 0 ? r : tracee_skip_call(&d->tracee);
}

int destination_on_stop(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        bool building = d->withholding;
        int r = 0;

        if (WSTOPSIG(d->tracee.status) == (SIGTRAP | 0x80))
                r = on_syscall(d);
        if (r >= 0 && building && !d->withholding && d->awaited)
                source_hold(h);
        if (r < 0)
                return failure_set(f, r, "cannot withhold an ioctl of the destination: %s", strerror(-r));
        r = tracee_resume(&d->tracee, d->withholding || d->skipping ? PTRACE_SYSCALL : PTRACE_CONT,
                          tracee_stop_signal(&d->tracee));
        return r == -ESRCH ? 0 : r; /* killed this moment: its pidfd tells */
}

static const struct listener *qmp_listener(const struct handoff *h)
{
        for (size_t i = 0; i < h->destination.facts.n_listeners; i++)
                if (STREQ(h->destination.facts.listeners[i].path, h->order.qmp))
                        return &h->destination.facts.listeners[i];
        return NULL;
}

static int connect_destination(struct handoff *h, struct failure *f)
{
        const struct listener *l = qmp_listener(h);
        _cleanup_(qmp_freep) struct qmp *q = NULL;
        char name[LISTENER_NAME_MAX];
        int r;

        if (!l)
                return failure_set(f, ENOENT, "no QMP server of the destination will be at %s", h->order.qmp);
        r = listener_name(h, l, name);
        if (r >= 0)
                r = qmp_connect(name, &q, f);
        if (r == -ENOENT) /* a recovery after its publication */
                r = qmp_connect(l->path, &q, f);
        if (r < 0)
                return r;
        /* Before its publication the path is the source's, which must never be told to go on. */
        if (qmp_peer_pid(q) != h->destination.process.pid)
                return failure_set(f, EBADF, "process %d answers instead of the destination",
                                   qmp_peer_pid(q));
        h->destination.qmp = TAKE_PTR(q);
        return 0;
}

static int is_built(struct handoff *h, void *userdata)
{
        return !h->destination.withholding && !h->destination.skipping;
}

/* While it builds its machine: this is read before the pause, and obeyed as soon as its main loop runs. */
static int negotiate(struct handoff *h, struct failure *f)
{
        int r = connect_destination(h, f);

        return r < 0 ? r : qmp_send(h->destination.qmp, "qmp_capabilities", NULL, -EBADF);
}

/* Until its main loop runs, but not longer than @until. Returns 1: it runs; 0: that takes longer. */
static int wait_ready(struct handoff *h, uint64_t until, struct failure *f)
{
        uint64_t deadline = h->deadline;
        int r;

        if (until < deadline)
                h->deadline = until;
        r = wait_reply(h, h->destination.qmp, "qmp_capabilities", NULL, f);
        h->deadline = deadline;
        if (r != -ETIMEDOUT)
                return r < 0 ? r : 1;
        *f = (struct failure){};
        return 0;
}

/* What can be done for a short pause while the source is held, which must not be long, whatever keeps the
 * destination. */
static int make_ready(struct handoff *h, struct failure *f)
{
        uint64_t until = now_usec() + HOLD_USEC;
        int r;

        handoff_hurry(h, true);
        r = wait_ready(h, until, f);
        return r > 0 ? heap_lock(h, until, f) : r;
}

int destination_build(struct handoff *h, struct failure *f)
{
        int r = negotiate(h, f);

        h->destination.awaited = r >= 0;
        if (r >= 0)
                r = wait_until(h, is_built, NULL, f);
        if (r >= 0 && !h->destination.n_withheld)
                r = failure_set(f, EPROTO, "the destination did not build its vhost-vsock device");
        if (r >= 0)
                r = make_ready(h, f);
        h->destination.awaited = false;
        source_let_go(h);
        return r;
}

/* ---- commit ---- */

/* `cont`, unless an earlier try has come so far: then there is no other RESUME to wait for. */
static int start_guest(struct handoff *h, bool again, struct failure *f)
{
        struct qmp *q = h->destination.qmp;
        _cleanup_json_ json_object *status = NULL;
        uint64_t seen = qmp_event_count(q);
        int r = again ? wait_qmp(h, q, "query-status", NULL, &status, f) : 0;

        if (r < 0 || json_flag(status, "running"))
                return r;
        r = wait_qmp(h, q, "cont", NULL, NULL, f);
        return r < 0 ? r : wait_event(h, q, "RESUME", seen, &h->resume_usec, f);
}

/* Whether it is about to exit: a signal waits for it to run again, or was let in, or it has told so itself.
 */
static bool is_leaving(const struct destination *d)
{
        const uint64_t ends =
                1ULL << (SIGKILL - 1) | 1ULL << (SIGTERM - 1) | 1ULL << (SIGINT - 1) | 1ULL << (SIGHUP - 1);
        uint64_t pending = 0;

        process_pending_signals(&d->process, &pending);
        if (d->qmp)
                qmp_read(d->qmp);
        return ((pending | d->tracee.signals) & ends) || (d->qmp && qmp_event(d->qmp, "SHUTDOWN", 0, NULL));
}

int destination_commit(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        bool again = h->committed;
        int r = 0;

        /* In this order: as long as it is traced it dies with us, and nothing is committed; once it is
         * committed it must outlive us. */
        if (!again && is_leaving(d))
                return failure_set(f, ECANCELED, "the destination was told to exit");
        if (tracee_detach(&d->tracee, h->deadline) < 0 && !again) {
                destination_last_words(h, PROCESS_DYING_MSEC, f);
                return failure_set(f, ESRCH, "the destination was killed");
        }
        if (!again)
                r = handoff_fact(h, "committed", json_object_new_boolean(true), f);
        if (r < 0)
                return r;
        h->committed = true;
        if (!d->qmp) {
                r = connect_destination(h, f);
                if (r >= 0)
                        r = wait_greeting(h, d->qmp, f);
        }
        if (r >= 0)
                r = start_guest(h, again, f);
        handoff_hurry(h, false);
        if (r >= 0 && h->stop_usec && h->resume_usec > h->stop_usec)
                handoff_fact(h, "pause", json_object_new_int64((int64_t)(h->resume_usec - h->stop_usec)),
                             NULL);
        return r;
}

/* ---- retire ---- */

/* Puts the source's stderr in the place of the log that it had until here. */
static int restore_stderr(struct handoff *h, struct failure *f)
{
        struct injection calls[] = {{.nr = SYS_dup3, .arguments = {FD_STDERR, 2, 0}},
                                    {.nr = SYS_close, .arguments = {FD_STDERR}}};
        int r = inject_calls(&h->destination.tracee, calls, ELEMENTSOF(calls), h->deadline, f);

        return r == -EBADF ? 0 : r; /* it was done before */
}

/* Until now the kernel was to choose it rather than the source, if it had to. */
static int restore_oom_score(const struct destination *d, struct failure *f)
{
        _cleanup_close_ int fd = openat(d->process.proc_fd, "oom_score_adj", O_WRONLY | O_CLOEXEC);

        return fd < 0 || dprintf(fd, "%d", d->oom_score_adj) < 0
                       ? failure_set(f, errno, "cannot set its oom_score_adj: %s", strerror(errno))
                       : 0;
}

/* Not earlier: it would be part of the pause. That it may not come to it (the helper dies) costs log lines,
 * and memory that stays locked, no more. */
void destination_settle(struct handoff *h)
{
        struct destination *d = &h->destination;
        struct failure f = {};
        int r = d->is_dead ? 0 : tracee_attach(&d->tracee, &d->process, 0, &f);

        if (d->is_dead)
                return;
        if (r >= 0)
                r = restore_oom_score(d, &f);
        if (r >= 0)
                r = tracee_stop(&d->tracee, h->deadline, &f);
        if (r >= 0)
                r = heap_unlock(h, &f);
        if (r >= 0)
                r = restore_stderr(h, &f);
        tracee_detach(&d->tracee, h->deadline);
        if (r < 0)
                log_failure(LOG_WARNING, &f, "the destination keeps what was for the handoff only");
}
