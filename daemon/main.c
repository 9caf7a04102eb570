/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cprd, the service: see cprd(8). Started by systemd (Type=notify); the directories come from its
 * RUNTIME_DIRECTORY and STATE_DIRECTORY, and fds of handoffs in flight from its fd store.
 */
#include "common/log.h"
#include "daemon/handoffs.h"
#include "daemon/helpers.h"
#include "daemon/server.h"
#include "daemon/units.h"

#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

#define EXIT_CONFIG 78 /* systemd.exec(5); the unit does not start it again then */

static int take_stored_fds(struct daemon *d, struct failure *f)
{
        char **names = NULL;
        int n = sd_listen_fds_with_names(true, &names);

        if (n < 0)
                return failure_set(f, n, "cannot take fds over from systemd: %s", strerror(-n));
        for (int i = 0; i < n; i++) {
                handoffs_take_fd(d, names[i], SD_LISTEN_FDS_START + i);
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

/* Without a bus there are no handoffs, but VMs can be registered; each handoff tries again. */
static void open_units(struct daemon *d)
{
        struct failure f = {};

        if (units_open(d, &f) < 0)
                log_failure(LOG_WARNING, &f, "no handoffs for now");
}

static int start(struct daemon *d, struct config *config, struct failure *f)
{
        const char *runtime = getenv("RUNTIME_DIRECTORY") ?: "/run/cprd";
        const char *state = getenv("STATE_DIRECTORY") ?: "/var/lib/cprd";
        int r = daemon_init(d, runtime, state, config, f);

        d->helper_start = units_start;
        d->helper_kill = units_kill;
        d->helper_look = units_look;
        if (r >= 0)
                r = watch_signals(d);
        if (r >= 0)
                r = take_stored_fds(d, f);
        if (r >= 0)
                open_units(d);
        if (r >= 0)
                r = helpers_listen(d, f);
        if (r >= 0)
                r = server_listen(d, f);
        if (r >= 0)
                r = sd_event_set_watchdog(d->event, true);
        if (r < 0)
                return failure_set(f, r, "cannot start: %s", strerror(-r));
        handoffs_resume(d);
        return 0;
}

static int run(const char *config_path)
{
        struct daemon d = {};
        struct failure f = {};
        struct config config;
        int r = config_load(&config, config_path, &f);

        if (r < 0) {
                log_failure(LOG_ERR, &f, "cprd does not start");
                config_done(&config);
                return EXIT_CONFIG;
        }
        r = start(&d, &config, &f);
        if (r < 0) {
                log_failure(LOG_ERR, &f, "cprd does not start");
        } else {
                sd_notify(false, "READY=1\nSTATUS=Ready");
                r = sd_event_loop(d.event);
                if (r < 0)
                        log_error("the event loop failed: %s", strerror(-r));
                sd_notify(false, "STOPPING=1");
        }
        units_close(&d);
        daemon_done(&d);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static void help(void)
{
        printf("Usage: cprd [--config FILE]\n\n"
               "Replaces the QEMU under a running VM and keeps its AF_VSOCK connections. This is the service,\n"
               "started by systemd; what talks to it is cprctl(1).\n\n"
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
