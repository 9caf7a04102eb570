/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/source.h"

#include "common/allow.h"
#include "common/device.h"
#include "common/log.h"
#include "handoff/commands.h"
#include "handoff/credentials.h"
#include "handoff/destination.h"
#include "handoff/fault.h"
#include "handoff/fdset.h"
#include "handoff/freeze.h"
#include "handoff/memfile.h"
#include "handoff/nic.h"
#include "handoff/resources.h"
#include "handoff/settings.h"
#include "handoff/translate.h"
#include "handoff/wait.h"
#include "proto/handoff.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A QEMU that has just lost its last client may take a moment to notice. */
#define GREETING_USEC (4 * USEC_PER_SEC)

/* The path of the running binary. The kernel appends " (deleted)" to one that an upgrade has replaced. */
static int read_exe(struct handoff *h, struct failure *f)
{
        static const char deleted[] = " (deleted)";
        struct source *s = &h->source;
        _cleanup_free_ char *exe = NULL;
        int r = process_readlink(&s->process, "exe", &exe);
        const char *name;
        size_t n;

        if (r < 0)
                return failure_set(f, r, "cannot see the binary of process %d: %s", s->process.pid,
                                   strerror(-r));
        n = strlen(exe);
        if (n > sizeof(deleted) && STREQ(exe + n - sizeof(deleted) + 1, deleted))
                exe[n - sizeof(deleted) + 1] = '\0';
        name = strrchr(exe, '/') ?: exe;
        if (!strstr(name, "qemu")) {
                failure_set(f, ENOEXEC, "process %d is not a QEMU: it runs %s", s->process.pid, exe);
                return failure_remedy(f, "register the VM with the pid of its qemu-system process");
        }
        free(h->facts.source.binary);
        h->facts.source.binary = TAKE_PTR(exe);
        return 0;
}

static int read_user(struct handoff *h, struct failure *f)
{
        struct source *s = &h->source;
        uint64_t uid, gid;
        _cleanup_free_ char *credentials = NULL;
        int r = credentials_read(&s->process, &credentials, f);

        if (r < 0)
                return r;
        free(s->credentials);
        s->credentials = TAKE_PTR(credentials);
        r = process_status_number(&s->process, "Uid", 10, &uid);
        if (r >= 0)
                r = process_status_number(&s->process, "Gid", 10, &gid);
        if (r < 0)
                return failure_set(f, r, "cannot see whose process %d is: %s", s->process.pid, strerror(-r));
        h->facts.source.uid = (int64_t)uid;
        h->facts.source.gid = (int64_t)gid;
        return 0;
}

/* Who it is: process, binary, user, command line. */
static int open_source(struct handoff *h, struct failure *f)
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
                r = read_user(h, f);
        if (r >= 0)
                r = read_exe(h, f);
        if (r >= 0) {
                r = process_read(&s->process, "cmdline", 1U << 20, &cmdline, &size);
                if (r < 0)
                        failure_set(f, r, "cannot read the command line of process %d: %s", s->process.pid,
                                    strerror(-r));
        }
        return r < 0 ? r : cmdline_parse(cmdline, size, &s->cmdline, f);
}

static int ask_machine(struct handoff *h, char **ret, struct failure *f)
{
        _cleanup_json_ json_object *type = NULL;
        char *suffix;
        int r = wait_qmp(h, h->source.qmp, "qom-get",
                         qmp_arguments("path", "/machine", "property", "type", NULL), &type, f);

        if (r < 0)
                return r;
        if (!json_object_is_type(type, json_type_string))
                return failure_set(f, EBADMSG, "QMP qom-get: /machine has no type");
        *ret = text_copy(json_object_get_string(type));
        suffix = strstr(*ret, "-machine");
        if (suffix)
                *suffix = '\0';
        return 0;
}

static int ask_version(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *version = NULL;
        struct source_facts *facts = &h->facts.source;
        int r = wait_qmp(h, h->source.qmp, "query-version", NULL, &version, f);

        if (r < 0)
                return r;
        facts->version = qmp_version_text(version);
        return ask_machine(h, &facts->machine, f);
}

/* It must answer, and be the source: its fate is decided over this connection. */
static int check_connection(struct handoff *h, struct qmp *q, struct failure *f)
{
        pid_t peer = qmp_peer_pid(q);
        int r;

        if (peer != h->source.process.pid) {
                failure_set(f, EINVAL, "the QMP socket %s belongs to process %d, not to %d", h->order.qmp,
                            peer, h->source.process.pid);
                return failure_remedy(f, "register the VM with the QMP path of its own process");
        }
        r = wait_greeting(h, q, GREETING_USEC, NULL);
        if (r != -EBUSY)
                return r < 0 ? failure_set(f, r, "the QMP socket %s is dead: %s", h->order.qmp, strerror(-r))
                             : r;
        failure_set(f, EBUSY,
                    "the QMP socket %s does not answer: another client is connected to it, or QEMU hangs",
                    h->order.qmp);
        return failure_remedy(f, "disconnect the other client, or give the VM a second -qmp socket for cprd");
}

int source_connect(struct handoff *h, struct failure *f)
{
        struct source *s = &h->source;
        int r;

        if (s->is_dead)
                return failure_set(f, ESRCH, "the source (process %d) has exited", s->process.pid);
        if (s->qmp && !qmp_error(s->qmp))
                return 0;
        s->qmp = qmp_free(s->qmp);
        r = qmp_connect(h->order.qmp, &s->qmp, f);
        if (r < 0)
                return r;
        qmp_restrict(s->qmp, command_is_allowed);
        r = check_connection(h, s->qmp, f);
        if (r < 0)
                return r;
        /* All events of a new connection came after `migrate`. */
        s->events = s->events ? 1 : 0;
        return h->facts.source.version ? 0 : ask_version(h, f);
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

/* cprd gets a share of the device. */
static int take_custody(struct handoff *h, struct failure *f)
{
        const struct source *s = &h->source;
        struct source_facts *facts = &h->facts.source;
        int fd, r = source_find_device(s, h->destination.cmdline_facts.vhostfd, -1, &fd);

        facts->device_fd = fd;
        if (r < 0)
                return failure_set(f, r, "cannot list the fds of process %d: %s", s->process.pid,
                                   strerror(-r));
        if (r == 0)
                return 0; /* a finding of the check */
        facts->cid = (int64_t)h->destination.cmdline_facts.cid;
        h->device = process_get_fd(&s->process, fd);
        if (h->device < 0)
                return failure_set(f, h->device, "cannot duplicate fd %d of process %d: %s", fd,
                                   s->process.pid, strerror(-h->device));
        r = device_check(h->device, DEVICE_PATH, f);
        if (r < 0)
                return r;
        link_tell(&h->link, HANDOFF_DEVICE, 0, (uint64_t)facts->cid, h->device);
        return handoff_note(h, "source", f);
}

/* For cmdline_make(): the path that a listening socket of the source is bound to. A socket made by an earlier
 * handoff is bound to the name it had before publication (listeners.c), which ends in ".cprd-ID". */
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
        *ret = text_copy(address.sun_path);
        return 0;
}

static bool maps_file(void *userdata, const char *path)
{
        struct handoff *h = userdata;

        /* The control experiment of the tests: what is lost without the fd. */
        return fault_is_set(h, "no-memory-fd") || memfile_is_mapped(&h->source.process, path);
}

static int find_memory(void *userdata, const char *path, const char *id)
{
        struct handoff *h = userdata;

        return memfile_find(&h->source.process, path, id);
}

static size_t find_taps(void *userdata, const char *ifname, int fds[static NIC_QUEUES_MAX])
{
        struct handoff *h = userdata;

        return nic_find(&h->source.process, ifname, fds);
}

/* The path that the source was started by, if it may be used: a link of that name may lead to another version
 * by now, and that is the wanted one. Otherwise the path of its binary. */
static const char *started_as(const struct handoff *h)
{
        const struct source *s = &h->source;
        const char *started = s->cmdline.n > 0 ? s->cmdline.argv[0] : "";
        _cleanup_free_ char *path = text_print("root%s", started);

        return allow_path(json_arr(json_obj(h->order.json, "order"), "binaries"), started) &&
                               faccessat(s->process.proc_fd, path, X_OK, 0) == 0
                       ? started
                       : h->facts.source.binary;
}

static int plan_destination(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        _cleanup_free_ char *main_path = channels_main_path(&d->channels),
                            *cpr_path = channels_cpr_path(&d->channels);
        struct cmdline_plan plan = {
                .id = h->order.id,
                .device_fd = FD_DEVICE,
                .machine = h->facts.source.machine,
                .main_path = main_path,
                .cpr_path = cpr_path,
                .first_listener_fd = FD_LISTENERS,
                .socket_path = socket_path,
                .first_memory_fd = FD_MEMORY,
                .keep_discard = fault_is_set(h, "no-discard-off"),
                .maps_file = maps_file,
                .find_memory = find_memory,
                .first_queue_fd = FD_QUEUES,
                .find_taps = find_taps,
                .userdata = h,
        };

        int r;

        h->facts.destination.binary = text_copy(h->order.binary ?: started_as(h));
        plan.binary = h->facts.destination.binary;
        r = cmdline_make(&h->source.cmdline, &plan, &d->cmdline, &d->cmdline_facts, &h->findings);
        return r < 0 ? r : fdset_take(h, f);
}

int source_identify(struct handoff *h, struct failure *f)
{
        const char *id = "source-process";
        int r = open_source(h, f);

        if (r >= 0) {
                id = "qmp";
                r = source_connect(h, f);
        }
        if (r >= 0) {
                id = "vsock-device";
                r = plan_destination(h, f);
        }
        if (r >= 0)
                r = take_custody(h, f);
        if (r < 0 && f->error != ECANCELED)
                finding_block_failure(&h->findings, id, f);
        return r;
}

int source_forget(struct handoff *h, struct failure *f)
{
        link_forget(&h->link, HANDOFF_DEVICE);
        h->device = close_fd(h->device); /* cprd drops its share when it reads the outcome */
        return 0;
}

static int has_exited(struct handoff *h, void *userdata)
{
        return h->source.is_dead;
}

/* Killed, not told to quit: it must not get the chance to touch what the destination has by now (its sockets'
 * paths, RAM with discard-data=on, the network's downscript). */
int source_retire(struct handoff *h, struct failure *f)
{
        struct failure why = {};
        int moved = 0, r = 0;

        if (!h->source.is_dead) {
                pidfd_send_signal(h->source.process.pidfd, SIGKILL, NULL, 0);
                r = wait_until(h, has_exited, NULL, f);
        }
        /* A client that cannot be moved must not keep the VM's sockets from their names. */
        if (r >= 0)
                moved = resources_move(h, &why);
        settings_hand_on(h);
        destination_settle(h);
        if (r >= 0)
                r = resources_retire(h, f);
        return r < 0 || moved >= 0 ? r : failure_pass(f, &why);
}
