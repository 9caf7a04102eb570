/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cprd, the service: see cprd(8). Started by systemd (Type=notify). The directories come from its
 * RUNTIME_DIRECTORY and STATE_DIRECTORY, the fds of handoffs in flight from its fd store.
 */
#include "common/log.h"
#include "daemon/api.h"
#include "daemon/daemon.h"
#include "daemon/recovery.h"
#include "daemon/units.h"

#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define EXIT_CONFIG 78 /* systemd.exec(5); the unit does not restart it then */

static int take_stored_fds(struct daemon *d, struct failure *f)
{
        char **names = NULL;
        int n = sd_listen_fds_with_names(true, &names);

        if (n < 0)
                return failure_set(f, n, "cannot take over fds from systemd: %s", strerror(-n));
        for (int i = 0; i < n; i++) {
                recovery_take_fd(&d->queue, names[i], SD_LISTEN_FDS_START + i);
                free(names[i]);
        }
        free(names);
        return 0;
}

static int watch_signals(struct daemon *d)
{
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        r = sd_event_add_signal(d->event, NULL, SIGTERM, NULL, NULL);
        return r < 0 ? r : sd_event_add_signal(d->event, NULL, SIGINT, NULL, NULL);
}

/* ---- cprd-handoff as a unit ---- */

static void on_unit_failed(void *userdata, const char *id, const char *why)
{
        struct daemon *d = userdata;
        struct job *j = queue_find(&d->queue, id);

        if (j && j->state == JOB_STARTING)
                runner_lost(j, why);
        else
                log_full(LOG_WARNING, j ? j->name : NULL, id, "%s", why);
}

static void on_unit_absent(void *userdata, const char *id)
{
        struct daemon *d = userdata;
        struct job *j = queue_find(&d->queue, id);

        if (j)
                runner_absent(j);
}

static int start_unit(void *userdata, const char *id, struct failure *f)
{
        return units_start(userdata, id, f);
}

static int kill_unit(void *userdata, const char *id)
{
        return units_kill(userdata, id);
}

static int look_unit(void *userdata, const char *id)
{
        return units_look(userdata, id);
}

/* ---- start and end ---- */

static int start(struct daemon *d, struct config *config, struct units **ret_units, struct failure *f)
{
        static const struct units_events events = {.failed = on_unit_failed, .absent = on_unit_absent};
        struct queue_starter starter = {.start = start_unit, .kill = kill_unit, .look = look_unit};
        const char *runtime = getenv("RUNTIME_DIRECTORY") ?: "/run/cprd";
        const char *state = getenv("STATE_DIRECTORY") ?: "/var/lib/cprd";
        struct failure no_bus = {};
        int r = daemon_init(d, runtime, state, config, f);

        if (r >= 0)
                r = watch_signals(d);
        if (r >= 0)
                r = take_stored_fds(d, f);
        if (r < 0)
                return failure_set(f, r, "cannot start: %s", strerror(-r));
        /* Without a bus VMs can be registered but not handed off; each handoff tries to connect again. */
        if (units_new(d->event, &events, d, ret_units, &no_bus) < 0)
                log_failure(LOG_WARNING, &no_bus, "no handoffs for now");
        starter.userdata = *ret_units;
        r = daemon_start(d, &starter, api_call, f);
        if (r >= 0)
                r = sd_event_set_watchdog(d->event, true);
        return r < 0 ? failure_set(f, r, "cannot start: %s", strerror(-r)) : 0;
}

static int run(const char *config_path)
{
        struct daemon d = {.lock = -EBADF};
        struct units *units = NULL;
        struct failure f = {};
        struct config config;
        int r = config_load(&config, config_path, &f);

        if (r < 0) {
                log_failure(LOG_ERR, &f, "cprd does not start");
                config_done(&config);
                return EXIT_CONFIG;
        }
        r = start(&d, &config, &units, &f);
        if (r < 0) {
                log_failure(LOG_ERR, &f, "cprd does not start");
        } else {
                sd_notify(false, "READY=1\nSTATUS=Ready");
                r = sd_event_loop(d.event);
                if (r < 0)
                        log_error("the event loop failed: %s", strerror(-r));
                sd_notify(false, "STOPPING=1");
        }
        units_free(units);
        daemon_done(&d);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void help(void)
{
        printf("Usage: cprd [--config FILE]\n\n"
               "Replaces the QEMU under a running VM and keeps its AF_VSOCK connections. This is the service,\n"
               "started by systemd; use cprctl(1) to talk to it.\n\n"
               "      --config FILE  configuration instead of " CONFIG_PATH "\n"
               "      --help\n"
               "      --version\n");
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"config", required_argument, NULL, 'c'},
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, 'v'},
                {},
        };
        const char *config = CONFIG_PATH;
        int c;

        umask(0022);
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                switch (c) {
                case 'c':
                        config = optarg;
                        break;
                case 'h':
                        help();
                        return EXIT_SUCCESS;
                case 'v':
                        printf("cprd %s\n", CPRD_VERSION);
                        return EXIT_SUCCESS;
                default:
                        return 64;
                }
        }
        if (optind < argc) {
                fprintf(stderr, "cprd: unexpected argument %s (see cprd --help)\n", argv[optind]);
                return 64;
        }
        return run(config);
}
