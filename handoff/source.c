/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/source.h"

#include "common/allow.h"
#include "common/device.h"
#include "common/log.h"
#include "handoff/commands.h"
#include "handoff/destination.h"
#include "handoff/listeners.h"
#include "handoff/memfile.h"
#include "proto/handoff.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A QEMU that has just lost its last client may be busy for a moment before it sees that. */
#define GREETING_USEC (4 * USEC_PER_SEC)

/* The path of the running binary: " (deleted)" is what the kernel says of one that an upgrade has replaced.
 */
static int read_exe(struct source *s, struct failure *f)
{
        static const char deleted[] = " (deleted)";
        int r = process_readlink(&s->process, "exe", &s->exe);
        const char *name;
        size_t n;

        if (r < 0)
                return failure_set(f, r, "cannot see the binary of process %d: %s", s->process.pid,
                                   strerror(-r));
        n = strlen(s->exe);
        if (n > sizeof(deleted) && STREQ(s->exe + n - sizeof(deleted) + 1, deleted))
                s->exe[n - sizeof(deleted) + 1] = '\0';
        name = strrchr(s->exe, '/') ?: s->exe;
        if (strstr(name, "qemu"))
                return 0;
        failure_set(f, ENOEXEC, "process %d is not a QEMU: it runs %s", s->process.pid, s->exe);
        return failure_remedy(f, "register the VM with the pid of its qemu-system process");
}

static int read_user(struct source *s, struct failure *f)
{
        uint64_t uid, gid;
        int r = process_status_number(&s->process, "Uid", 10, &uid);

        if (r >= 0)
                r = process_status_number(&s->process, "Gid", 10, &gid);
        if (r < 0)
                return failure_set(f, r, "cannot see whose process %d is: %s", s->process.pid, strerror(-r));
        s->uid = (uid_t)uid;
        s->gid = (gid_t)gid;
        return 0;
}

int source_open(struct handoff *h, struct failure *f)
{
        struct source *s = &h->source;
        _cleanup_free_ char *cmdline = NULL;
        size_t size = 0;
        int r = 0;

        if (s->process.pidfd < 0)
                r = process_open(&s->process, h->order.pid, h->order.start_time, f);
        if (r >= 0 && (s->process.pid != h->order.pid ||
                       (h->order.start_time && s->process.start_time != h->order.start_time)))
                r = failure_set(f, ESRCH, "process %d is not the one that was registered", s->process.pid);
        if (r >= 0)
                r = read_user(s, f);
        if (r >= 0)
                r = read_exe(s, f);
        if (r >= 0) {
                r = process_read(&s->process, "cmdline", 1U << 20, &cmdline, &size);
                if (r < 0)
                        failure_set(f, r, "cannot read the command line of process %d: %s", s->process.pid,
                                    strerror(-r));
        }
        return r < 0 ? r : cmdline_parse(cmdline, size, &s->cmdline, f);
}

static int ask_version(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *version = NULL, *type = NULL;
        json_object *q;
        char *suffix;
        int r = wait_qmp(h, h->source.qmp, "query-version", NULL, &version, f);

        if (r < 0)
                return r;
        q = json_obj(version, "qemu");
        if (asprintf(&h->source.version, "%d.%d.%d", (int)json_int(q, "major", 0),
                     (int)json_int(q, "minor", 0), (int)json_int(q, "micro", 0)) < 0)
                return -ENOMEM;
        r = wait_qmp(h, h->source.qmp, "qom-get", qmp_arguments("path", "/machine", "property", "type", NULL),
                     &type, f);
        if (r < 0)
                return r;
        if (!json_object_is_type(type, json_type_string))
                return failure_set(f, EBADMSG, "QMP qom-get: /machine has no type");
        h->source.machine = strdup(json_object_get_string(type));
        suffix = strstr(h->source.machine, "-machine");
        if (suffix)
                *suffix = '\0';
        return 0;
}

int source_connect(struct handoff *h, struct failure *f)
{
        struct source *s = &h->source;
        uint64_t deadline = h->deadline;
        pid_t peer;
        int r = qmp_connect(h->order.qmp, &s->qmp, f);

        if (r < 0)
                return r;
        qmp_restrict(s->qmp, command_is_allowed);
        peer = qmp_peer_pid(s->qmp);
        if (peer != s->process.pid) {
                failure_set(f, EINVAL, "the QMP socket %s belongs to process %d, not to %d", h->order.qmp,
                            peer, s->process.pid);
                return failure_remedy(f, "register the VM with the QMP path of its own process");
        }
        if (now_usec() + GREETING_USEC < h->deadline)
                h->deadline = now_usec() + GREETING_USEC;
        r = wait_greeting(h, s->qmp, NULL);
        h->deadline = deadline;
        if (r == -ETIMEDOUT) {
                failure_set(
                        f, EBUSY,
                        "the QMP socket %s does not answer: another client is connected to it, or QEMU hangs",
                        h->order.qmp);
                return failure_remedy(
                        f, "disconnect the other client, or give the VM a second -qmp socket for cprd");
        }
        if (r < 0)
                return failure_set(f, r, "the QMP socket %s is dead: %s", h->order.qmp, strerror(-r));
        return s->version ? 0 : ask_version(h, f);
}

int source_find_device(const struct source *s, int preferred, int except, int *ret_fd)
{
        _cleanup_close_ int fd = openat(s->process.proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        int n = 0;

        *ret_fd = -1;
        if (!dir)
                return fd < 0 ? -errno : -ENOMEM;
        TAKE_FD(fd);
        while ((entry = readdir(dir))) {
                char target[64] = "";

                if (readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1) < 0 ||
                    !STREQ(target, DEVICE_PATH) || atoi(entry->d_name) == except ||
                    device_check_path(dirfd(dir), entry->d_name, DEVICE_PATH, NULL) < 0)
                        continue;
                n++;
                if (*ret_fd < 0 || atoi(entry->d_name) == preferred)
                        *ret_fd = atoi(entry->d_name);
        }
        closedir(dir);
        return n;
}

int source_take_custody(struct handoff *h, struct failure *f)
{
        struct source *s = &h->source;
        json_object *fact;
        int r = source_find_device(s, h->destination.facts.vhostfd, -1, &s->device_fd);

        if (r < 0)
                return failure_set(f, r, "cannot list the fds of process %d: %s", s->process.pid,
                                   strerror(-r));
        if (r == 0)
                return 0; /* a finding of the check */
        s->cid = (uint32_t)h->destination.facts.cid;
        h->device = process_get_fd(&s->process, s->device_fd);
        if (h->device < 0)
                return failure_set(f, h->device, "cannot duplicate fd %d of process %d: %s", s->device_fd,
                                   s->process.pid, strerror(-h->device));
        r = device_check(h->device, DEVICE_PATH, f);
        if (r < 0)
                return r;
        link_tell(h, HANDOFF_DEVICE, 0, s->cid, h->device);
        fact = json_object_new_object();
        json_add_int(fact, "deviceFd", s->device_fd);
        json_add_int(fact, "cid", s->cid);
        json_add_int(fact, "uid", s->uid);
        json_add_int(fact, "gid", s->gid);
        json_add_str(fact, "version", s->version);
        json_add_str(fact, "machine", s->machine);
        json_add_str(fact, "binary", s->exe);
        return handoff_fact(h, "source", fact, f);
}

/* For cmdline_make(): the path that a listening socket of the source is bound to. One that an earlier handoff
 * made is bound to the name it had before it was published (listeners.c), which ends in ".cprd-ID". */
static int socket_path(void *userdata, int fd, char **ret)
{
        struct handoff *h = userdata;
        _cleanup_close_ int copy = process_get_fd(&h->source.process, fd);
        struct sockaddr_un address = {};
        socklen_t size = sizeof(address) - 1;
        char *suffix;

        if (copy < 0)
                return copy;
        if (getsockname(copy, (struct sockaddr *)&address, &size) < 0)
                return -errno;
        if (address.sun_family != AF_UNIX || address.sun_path[0] != '/')
                return -EINVAL;
        suffix = strstr(address.sun_path, ".cprd-");
        if (suffix)
                *suffix = '\0';
        *ret = strdup(address.sun_path);
        return *ret ? 0 : -ENOMEM;
}

static bool maps_file(void *userdata, const char *path)
{
        struct handoff *h = userdata;

        return memfile_is_mapped(&h->source.process, path);
}

/* The path that the source was started by, if it may be used: a link of that name may lead to another version
 * by now, and that is the one that is wanted. Else where its binary is. */
static const char *started_as(const struct handoff *h)
{
        const struct source *s = &h->source;
        const char *started = s->cmdline.n > 0 ? s->cmdline.argv[0] : "";
        _cleanup_free_ char *path = NULL;

        if (!allow_path(json_arr(json_obj(h->order.json, "order"), "binaries"), started) ||
            asprintf(&path, "root%s", started) < 0)
                return s->exe;
        return faccessat(s->process.proc_fd, path, X_OK, 0) == 0 ? started : s->exe;
}

static int plan_destination(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        _cleanup_free_ char *main_path = NULL, *cpr_path = NULL;
        struct cmdline_plan plan = {
                .device_fd = FD_DEVICE,
                .machine = h->source.machine,
                .first_listener_fd = FD_LISTENERS,
                .socket_path = socket_path,
                .maps_file = maps_file,
                .userdata = h,
        };

        d->binary = strdup(h->order.binary ?: started_as(h));
        if (!d->binary || asprintf(&d->directory, HANDOFF_DIRECTORY "/%s/channel", h->order.id) < 0 ||
            asprintf(&main_path, "%s/main", d->directory) < 0 ||
            asprintf(&cpr_path, "%s/cpr", d->directory) < 0)
                return -ENOMEM;
        plan.binary = d->binary;
        plan.main_path = main_path;
        plan.cpr_path = cpr_path;
        return cmdline_make(&h->source.cmdline, &plan, &d->cmdline, &d->facts, &h->findings);
}

int source_identify(struct handoff *h, struct failure *f)
{
        const char *id = "source-process";
        int r = source_open(h, f);

        if (r >= 0) {
                id = "qmp";
                r = source_connect(h, f);
        }
        if (r >= 0) {
                id = "vsock-device";
                r = plan_destination(h, f);
        }
        if (r >= 0)
                r = source_take_custody(h, f);
        if (r < 0 && f->error != ECANCELED)
                finding_block_failure(&h->findings, id, f);
        return r;
}

int source_forget(struct handoff *h, struct failure *f)
{
        h->device = close_fd(h->device); /* cprd drops its share when it reads the outcome */
        return 0;
}

static json_object *channel(const char *type, const char *directory, const char *name)
{
        json_object *o = json_object_new_object(),
                    *address = qmp_arguments("transport", "socket", "type", "unix", NULL);
        char path[128];

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        json_add_str(address, "path", path);
        json_add_str(o, "channel-type", type);
        json_add(o, "addr", address);
        return o;
}

static json_object *migrate_arguments(const char *directory)
{
        json_object *o = json_object_new_object(), *channels = json_object_new_array();

        json_object_array_add(channels, channel("main", directory, "main"));
        json_object_array_add(channels, channel("cpr", directory, "cpr"));
        json_add(o, "channels", channels);
        return o;
}

static int set_mode(struct handoff *h, const char *mode, struct failure *f)
{
        return wait_qmp(h, h->source.qmp, "migrate-set-parameters", qmp_arguments("mode", mode, NULL), NULL,
                        f);
}

/* With its return path open a migration has completed for the source when it has for the destination, which
 * says over it that it has loaded everything. */
static int set_capabilities(struct handoff *h, struct failure *f)
{
        json_object *capabilities =
                json_tokener_parse("{\"capabilities\":[{\"capability\":\"events\",\"state\":true},"
                                   "{\"capability\":\"return-path\",\"state\":true}]}");

        return wait_qmp(h, h->source.qmp, "migrate-set-capabilities", capabilities, NULL, f);
}

int source_begin(struct handoff *h, struct failure *f)
{
        int r = set_capabilities(h, f);

        if (r >= 0)
                r = set_mode(h, "cpr-transfer", f);
        if (r < 0)
                return r;
        h->source_events = 1 + qmp_event_count(h->source.qmp);
        return wait_qmp(h, h->source.qmp, "migrate", migrate_arguments(h->destination.directory), NULL, f);
}

void source_hold(struct handoff *h)
{
        struct tracee *t = &h->source.tracee;

        if (tracee_attach(t, &h->source.process, 0, NULL) >= 0)
                tracee_stop(t, now_usec() + USEC_PER_SEC, NULL);
}

void source_let_go(struct handoff *h)
{
        tracee_detach(&h->source.tracee, h->deadline);
}

/* Status of a migration, as the QEMU on @q sees it. "none": there has been none. */
static int query_migrate(struct handoff *h, struct qmp *q, char status[32], char reason[256],
                         struct failure *f)
{
        _cleanup_json_ json_object *reply = NULL;
        int r = wait_qmp(h, q, "query-migrate", NULL, &reply, f);

        if (r < 0)
                return r;
        snprintf(status, 32, "%s", json_str(reply, "status") ?: "none");
        snprintf(reason, 256, "%s", json_str(reply, "error-desc") ?: "no reason given");
        return 0;
}

static bool is_end(const char *status)
{
        return STREQ(status, "none") || STREQ(status, "completed") || STREQ(status, "failed") ||
               STREQ(status, "cancelled");
}

/* Waits for a migration's end, from one MIGRATION event to the next. */
static int wait_migration(struct handoff *h, struct qmp *q, char status[32], char reason[256],
                          struct failure *f)
{
        for (;;) {
                uint64_t seen = qmp_event_count(q);
                int r = query_migrate(h, q, status, reason, f);

                if (r < 0 || is_end(status))
                        return r;
                r = wait_event(h, q, "MIGRATION", seen, NULL, f);
                if (r < 0)
                        return r;
        }
}

/* By its event alone: the guest is paused, and every question would cost it a round trip. */
static int has_completed(struct handoff *h, void *userdata)
{
        const char *status = qmp_migration_status(h->source.qmp, h->source_events - 1) ?: "";

        if (STREQ(status, "failed") || STREQ(status, "cancelled"))
                return -EREMOTEIO;
        return STREQ(status, "completed") ? 1 : qmp_error(h->source.qmp);
}

static int explain_migration(struct handoff *h, struct failure *f)
{
        char status[32], reason[256] = "no reason given";

        /* The destination knows best. The guest does not wait for that: its source goes on by itself. */
        destination_last_words(h, 3000, f);
        query_migrate(h, h->source.qmp, status, reason, NULL);
        return failure_set(f, EREMOTEIO, "the migration failed: %s", reason);
}

int source_load(struct handoff *h, struct failure *f)
{
        int r = wait_until(h, has_completed, NULL, f);

        if (r == -EREMOTEIO)
                return explain_migration(h, f);
        if (r < 0)
                return r;
        if (!h->pause_began)
                return failure_set(f, EPROTO,
                                   "the migration completed, but the source never said that it stopped");
        h->loaded = true;
        return handoff_fact(h, "loaded", json_object_new_boolean(true), f);
}

/* Brings a migration that may be under way in the source to its end. */
static int end_migration(struct handoff *h, struct failure *f)
{
        char status[32], reason[256];
        int r = query_migrate(h, h->source.qmp, status, reason, f);

        if (r < 0 || is_end(status))
                return r;
        r = wait_qmp(h, h->source.qmp, "migrate_cancel", NULL, NULL, f);
        return r < 0 ? r : wait_migration(h, h->source.qmp, status, reason, f);
}

int source_reconnect(struct handoff *h, struct failure *f)
{
        if (h->source.is_dead)
                return failure_set(f, ESRCH, "the source (process %d) has exited", h->source.process.pid);
        if (h->source.qmp && !qmp_error(h->source.qmp))
                return 0;
        h->source.qmp = qmp_free(h->source.qmp);
        return source_connect(h, f);
}

static int source_is_running(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *reply = NULL;
        int r = wait_qmp(h, h->source.qmp, "query-status", NULL, &reply, f);

        return r < 0 ? r : json_flag(reply, "running");
}

int source_continue(struct handoff *h, struct failure *f)
{
        uint64_t seen;
        int r = destination_kill(h, f); /* before anything else: never two that run one guest */

        if (r >= 0)
                r = source_reconnect(h, f);
        if (r < 0)
                return r;
        seen = qmp_event_count(h->source.qmp);
        r = end_migration(h, f);
        if (r >= 0)
                r = source_is_running(h, f);
        if (r < 0)
                return r;
        if (r > 0) { /* by itself, if its migration failed after it had stopped the guest */
                json_object *event =
                        h->stop_usec ? qmp_event(h->source.qmp, "RESUME", h->source_events - 1, NULL) : NULL;

                h->resume_usec = event ? qmp_event_usec(event) : 0;
                return 0;
        }
        r = wait_qmp(h, h->source.qmp, "cont", NULL, NULL, f);
        return r < 0 ? r : wait_event(h, h->source.qmp, "RESUME", seen, &h->resume_usec, f);
}

/* The source stops the guest as soon as the destination listens, which may be before `load` is begun: so that
 * it runs again is a matter of this undo, too. */
int source_cancel(struct handoff *h, struct failure *f)
{
        int r = source_continue(h, f);

        return r < 0 ? r : set_mode(h, "normal", f);
}

static int source_has_exited(struct handoff *h, void *userdata)
{
        return h->source.is_dead;
}

/* Twice, for a connection that has ended shows only when it is used. What it answers, and whether, does not
 * matter: it has to go. */
static void ask_to_quit(struct handoff *h)
{
        for (int try = 0; try < 2 && !h->source.is_dead; try++)
                if (source_reconnect(h, NULL) >= 0 && qmp_send(h->source.qmp, "quit", NULL, -EBADF) >= 0)
                        return;
}

int source_retire(struct handoff *h, struct failure *f)
{
        uint64_t deadline = h->deadline;
        int r;

        destination_settle(h);
        h->loaded = h->retiring = true;
        ask_to_quit(h);
        if (deadline > now_usec())
                h->deadline = now_usec() + (deadline - now_usec()) / 2;
        r = h->source.is_dead ? 1 : wait_until(h, source_has_exited, NULL, NULL);
        h->deadline = deadline;
        if (r < 0) {
                log_warning("the source (process %d) does not quit: killing it", h->source.process.pid);
                pidfd_send_signal(h->source.process.pidfd, SIGKILL, NULL, 0);
                r = wait_until(h, source_has_exited, NULL, f);
        }
        return r < 0 ? r : listeners_publish(h, f);
}
