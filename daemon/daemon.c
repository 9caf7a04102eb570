/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/daemon.h"
#include "common/file.h"

#include "common/log.h"
#include "daemon/handoffs.h"
#include "daemon/helpers.h"
#include "daemon/server.h"
#include "daemon/vm.h"

#include <fcntl.h>
#include <stdarg.h>
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
                r = make_directory(handoffs, 0711, f); /* a QEMU of another user enters its own below it */
        if (r >= 0)
                r = make_directory(d->state, 0750, f);
        if (r >= 0)
                r = make_directory(history, 0750, f);
        return r;
}

int daemon_init(struct daemon *d, const char *runtime, const char *state, struct config *config,
                struct failure *f)
{
        int r;

        *d = (struct daemon){.runtime = strdup(runtime), .state = strdup(state), .config = *config};
        *config = (struct config){};
        if (!d->runtime || !d->state)
                return -ENOMEM;
        r = make_directories(d, f);
        if (r >= 0)
                r = sd_event_new(&d->event);
        if (r >= 0)
                r = vm_load_all(d, f);
        if (r >= 0)
                r = handoffs_load(d, f);
        return r < 0 ? failure_set(f, r, "cannot start: %s", strerror(-r)) : 0;
}

void daemon_done(struct daemon *d)
{
        server_free(d);
        handoffs_free_all(d);
        helpers_free(d);
        vm_free_all(d);
        config_done(&d->config);
        sd_event_unref(d->event);
        free(d->runtime);
        free(d->state);
        *d = (struct daemon){};
}
