/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/fault.h"

#include "common/log.h"
#include "handoff/wait.h"

#include <signal.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A recovery goes through the same points again, but each fault happens once: the name of a socket remembers
 * it, since the sandbox lets no other file be created. */
static bool first_time(const struct handoff *h, const char *word)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), HANDOFF_DIRECTORY "/%s/fault-%s", h->order.id,
                 word);
        return fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static int fail(struct handoff *h, struct failure *f)
{
        return failure_set(f, EIO, "a fault was ordered here");
}

static int never(struct handoff *h, void *userdata)
{
        return 0;
}

static int hang(struct handoff *h, struct failure *f)
{
        return wait_until(h, never, NULL, f);
}

static int kill_helper(struct handoff *h, struct failure *f)
{
        return raise(SIGKILL);
}

static pid_t cprd_pid(const struct handoff *h)
{
        struct ucred peer = {};
        socklen_t size = sizeof(peer);

        return h->link.fd >= 0 && getsockopt(h->link.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0
                       ? peer.pid
                       : 0;
}

static int kill_cprd(struct handoff *h, struct failure *f)
{
        pid_t pid = cprd_pid(h);

        return pid > 0 ? kill(pid, SIGKILL) : 0;
}

static int kill_both(struct handoff *h, struct failure *f)
{
        kill_cprd(h, f);
        return raise(SIGKILL);
}

static int kill_process(const struct process *p, int signal)
{
        return p->pidfd >= 0 ? pidfd_send_signal(p->pidfd, signal, NULL, 0) : 0;
}

static int kill_source(struct handoff *h, struct failure *f)
{
        return kill_process(&h->source.process, SIGKILL);
}

static int kill_destination(struct handoff *h, struct failure *f)
{
        return kill_process(&h->destination.process, SIGKILL);
}

/* QEMU's orderly way out. */
static int exit_destination(struct handoff *h, struct failure *f)
{
        return kill_process(&h->destination.process, SIGTERM);
}

static int close_qmp(struct handoff *h, struct failure *f)
{
        if (h->source.qmp && qmp_fd(h->source.qmp) >= 0)
                shutdown(qmp_fd(h->source.qmp), SHUT_RDWR);
        if (h->destination.qmp && qmp_fd(h->destination.qmp) >= 0)
                shutdown(qmp_fd(h->destination.qmp), SHUT_RDWR);
        return 0;
}

/* A command that QEMU refuses stands in for the next one, which it would accept. */
static int qmp_answers_error(struct handoff *h, struct failure *f)
{
        return h->source.qmp ? wait_qmp(h, h->source.qmp, "cprd-no-such-command", NULL, NULL, f) : 0;
}

static const struct {
        const char *name;
        int (*act)(struct handoff *h, struct failure *f);
} actions[] = {
        {"fail", fail},
        {"hang", hang},
        {"kill-helper", kill_helper},
        {"kill-cprd", kill_cprd},
        {"kill-both", kill_both},
        {"kill-source", kill_source},
        {"kill-destination", kill_destination},
        {"exit-destination", exit_destination},
        {"close-qmp", close_qmp},
        {"qmp-error", qmp_answers_error},
};

static json_object *ordered(const struct handoff *h)
{
        return json_arr(json_obj(h->order.json, "order"), "faults");
}

bool fault_is_set(const struct handoff *h, const char *name)
{
        json_object *faults = ordered(h);

        for (size_t i = 0; faults && i < json_object_array_length(faults); i++)
                if (STREQ(json_object_get_string(json_object_array_get_idx(faults, i)), name))
                        return true;
        return false;
}

int fault_point(struct handoff *h, bool undo, const char *stage, const char *when, struct failure *f)
{
        char word[128];

        for (size_t i = 0; i < ELEMENTSOF(actions); i++) {
                snprintf(word, sizeof(word), "%s%s:%s=%s", undo ? "undo-" : "", stage, when, actions[i].name);
                if (!fault_is_set(h, word) || !first_time(h, word))
                        continue;
                log_warning("fault ordered: %s", word);
                return actions[i].act(h, f);
        }
        return 0;
}
