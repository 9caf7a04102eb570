/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/daemon.h"

#include "common/file.h"
#include "common/log.h"
#include "daemon/recovery.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

static int make_directory(const char *path, mode_t mode, struct failure *f)
{
        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return failure_set(f, errno, "cannot make %s: %s", path, strerror(errno));
        return 0;
}

static int make_directories(struct daemon *d, struct failure *f)
{
        _cleanup_free_ char *vms = file_path(d->runtime, "vms"),
                            *handoffs = file_path(d->runtime, "handoffs"),
                            *history = file_path(d->state, "history");
        int r = make_directory(d->runtime, 0755, f);

        if (r >= 0)
                r = make_directory(vms, 0700, f);
        if (r >= 0)
                r = make_directory(handoffs, 0711, f); /* QEMUs of other users enter their own below it */
        if (r >= 0)
                r = make_directory(d->state, 0750, f);
        if (r >= 0)
                r = make_directory(history, 0750, f);
        return r;
}

/* A second cprd would take sockets and journals away from the first. */
static int lock_runtime(struct daemon *d, struct failure *f)
{
        d->lock = open(d->runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (d->lock < 0)
                return failure_set(f, errno, "cannot open %s: %s", d->runtime, strerror(errno));
        if (flock(d->lock, LOCK_EX | LOCK_NB) == 0)
                return 0;
        failure_set(f, EBUSY, "another cprd runs in %s", d->runtime);
        return failure_remedy(f, "stop that one first: systemctl stop cprd");
}

static void init_queue(struct daemon *d)
{
        d->queue = (struct queue){
                .event = d->event,
                .config = &d->config,
                .registry = &d->registry,
                .history = &d->history,
                .learnt = &d->learnt,
                .begin = runner_begin,
        };
        queue_init(&d->queue, d->runtime);
}

int daemon_init(struct daemon *d, const char *runtime, const char *state, struct config *config,
                struct failure *f)
{
        int r;

        *d = (struct daemon){
                .runtime = text_copy(runtime), .state = text_copy(state), .config = *config, .lock = -EBADF};
        *config = (struct config){};
        r = make_directory(d->runtime, 0755, f);
        if (r >= 0)
                r = lock_runtime(d, f);
        if (r >= 0)
                r = make_directories(d, f);
        if (r >= 0)
                r = sd_event_new(&d->event);
        if (r < 0)
                return failure_set(f, r, "cannot start: %s", strerror(-r));
        d->children = children_new(d->event);
        learnt_init(&d->learnt, d->runtime);
        r = registry_init(&d->registry, d->event, d->runtime, f);
        if (r >= 0)
                r = history_init(&d->history, d->state, d->config.history, f);
        if (r >= 0) {
                init_queue(d);
                r = recovery_load(&d->queue, f);
        }
        return r;
}

int daemon_start(struct daemon *d, const struct queue_starter *starter,
                 void (*dispatch)(struct call *call, const char *method), struct failure *f)
{
        int r = helpers_listen(&d->helpers, &d->queue, d->runtime, f);

        d->queue.starter = *starter;
        if (r >= 0)
                r = server_listen(&d->server, d->event, d->runtime, dispatch, d, f);
        if (r >= 0)
                recovery_resume(&d->queue);
        return r;
}

void daemon_done(struct daemon *d)
{
        server_done(&d->server);
        helpers_done(&d->helpers);
        queue_done(&d->queue);
        history_done(&d->history);
        registry_done(&d->registry);
        learnt_done(&d->learnt);
        children_free(d->children);
        config_done(&d->config);
        sd_event_unref(d->event);
        if (d->lock >= 0)
                flock(d->lock, LOCK_UN); /* explicitly: a child forked a moment ago may still hold the fd */
        close_fd(d->lock);
        free(d->runtime);
        free(d->state);
        *d = (struct daemon){};
}
