/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cprctl(1): the command line of cprd. */
#include "cli/format.h"
#include "cli/verbs.h"
#include "cli/when.h"

#include <getopt.h>
#include <limits.h>

enum {
        OPTION_PID = 256,
        OPTION_QMP,
        OPTION_QEMU,
        OPTION_MAX_PAUSE,
        OPTION_REHEARSE,
        OPTION_FAULT,
        OPTION_ID,
        OPTION_SINCE,
        OPTION_ALL,
        OPTION_OUTDATED,
        OPTION_SOCKET,
        OPTION_JSON,
        OPTION_VERSION,
};

static const struct option long_options[] = {
        {"pid", required_argument, NULL, OPTION_PID},
        {"qmp", required_argument, NULL, OPTION_QMP},
        {"qemu", required_argument, NULL, OPTION_QEMU},
        {"max-pause", required_argument, NULL, OPTION_MAX_PAUSE},
        {"rehearse", no_argument, NULL, OPTION_REHEARSE},
        {"fault", required_argument, NULL, OPTION_FAULT},
        {"id", required_argument, NULL, OPTION_ID},
        {"since", required_argument, NULL, OPTION_SINCE},
        {"all", no_argument, NULL, OPTION_ALL},
        {"outdated", no_argument, NULL, OPTION_OUTDATED},
        {"yes", no_argument, NULL, 'y'},
        {"socket", required_argument, NULL, OPTION_SOCKET},
        {"json", no_argument, NULL, OPTION_JSON},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, 'h'},
        {},
};

enum { NAME_NONE, NAME_MAY, NAME_MUST, NAME_VMS, NAME_BINARIES };

static const struct verb {
        const char *verb;
        int (*run)(const struct options *o);
        int name;
        const char *arguments, *help;
} verbs[] = {
        {"status", verb_status, NAME_NONE, "", "this host at a glance; the default"},
        {"probe", verb_probe, NAME_BINARIES, "[QEMU...]", "what this host's kernel and QEMUs can do"},
        {"register", verb_register, NAME_MUST, "NAME --pid PID --qmp PATH", "tell cprd about a running QEMU"},
        {"unregister", verb_unregister, NAME_MUST, "NAME", "forget a VM; its QEMU keeps running"},
        {"list", verb_list, NAME_NONE, "[--outdated]", "all VMs, what each runs and what is at its path now"},
        {"show", verb_show, NAME_MUST, "NAME", "one VM"},
        {"check", verb_check, NAME_MUST, "NAME [--qemu PATH]",
         "would a handoff work? The guest notices nothing"},
        {"handoff", verb_handoff, NAME_VMS, "NAME... [--qemu PATH]",
         "replace the QEMU under one VM or several"},
        {"cancel", verb_cancel, NAME_MUST, "NAME", "roll a handoff back, before its commit"},
        {"history", verb_history, NAME_MAY, "[NAME | --id ID] [--since WHEN]",
         "past handoffs, newest first; or details of one"},
};

static void help(void)
{
        printf("Usage: cprctl [VERB [NAME...] [OPTION...]]\n\n"
               "Replaces the QEMU under a running VM with another one on this host, and keeps its AF_VSOCK\n"
               "connections. Talks to the cprd service.\n\n");
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++) {
                char left[64];

                snprintf(left, sizeof(left), "%s %s", verbs[i].verb, verbs[i].arguments);
                printf("  %-38s %s\n", left, verbs[i].help);
        }
        printf("\n"
               "      --pid PID             of the QEMU process\n"
               "      --qmp PATH            its QMP socket (-qmp unix:PATH,server=on,wait=off); nothing else may\n"
               "                            be connected to it during a check or a handoff\n"
               "      --qemu PATH           QEMU to hand off to (default: the one now at the path of the running one)\n"
               "      --rehearse            everything but the pause: start the new QEMU, compare it, end it again\n"
               "      --max-pause DURATION  roll back if the guest is paused for longer, for example 500ms (default 2s)\n"
               "      --all                 hand off all running VMs\n"
               "      --outdated            only VMs that do not run the QEMU now at their path\n"
               "  -y, --yes                 do not ask questions\n"
               "      --id ID               the handoff with this id\n"
               "      --since WHEN          only later ones: 2h, 3d, today, yesterday, 10:30, 2026-11-24, \"2026-11-24 10:30\"\n"
               "      --json                for programs: one JSON object per line\n"
               "      --socket PATH         of cprd, instead of " CPRD_ADDRESS "\n"
               "  -h, --help\n"
               "      --version\n\n"
               "Exit status: 0 updated, or done; 1 refused by the check, with nothing touched, or an error;\n"
               "2 still on the source; 3 needs an operator; 64 wrong usage.\n");
}

static int usage(const char *what, const char *which)
{
        fprintf(stderr, "cprctl: %s%s%s. See cprctl --help\n", what, which ? " " : "", which ?: "");
        return EXIT_USAGE;
}

static int parse_pid(const char *text, int64_t *ret)
{
        char *end;
        long n;

        errno = 0;
        n = strtol(text, &end, 10);
        if (errno != 0 || end == text || *end || n <= 0 || n > INT_MAX)
                return -EINVAL;
        *ret = n;
        return 0;
}

/* The absolute path, since cprd has another working directory. The caller's, for the program's life. */
static const char *absolute(const char *path)
{
        char directory[PATH_MAX];
        char *whole;

        if (path[0] == '/' || !getcwd(directory, sizeof(directory)) ||
            asprintf(&whole, "%s/%s", directory, path) < 0)
                return path;
        return whole;
}

/* The member that an option without a value sets; NULL: it has one. */
static bool *flag_of(struct options *o, int option)
{
        switch (option) {
        case OPTION_REHEARSE:
                return &o->rehearse;
        case OPTION_ALL:
                return &o->all;
        case OPTION_OUTDATED:
                return &o->outdated;
        case OPTION_JSON:
                return &o->json;
        case 'y':
                return &o->yes;
        default:
                return NULL;
        }
}

/* Returns 0, or the status to exit with. */
static int take_option(struct options *o, int option, const char *value)
{
        bool *flag = flag_of(o, option);

        if (flag) {
                *flag = true;
                return 0;
        }
        switch (option) {
        case OPTION_PID:
                return parse_pid(value, &o->pid) < 0 ? usage("not a process id:", value) : 0;
        case OPTION_QMP:
                o->qmp = absolute(value);
                return 0;
        case OPTION_QEMU:
                o->qemu = absolute(value);
                return 0;
        case OPTION_MAX_PAUSE:
                return parse_duration(value, &o->max_pause) < 0
                               ? usage("not a duration such as 500ms or 2s:", value)
                               : 0;
        case OPTION_FAULT:
                o->faults = o->faults ?: json_object_new_array();
                json_object_array_add(o->faults, json_object_new_string(value));
                return 0;
        case OPTION_ID:
                o->id = value;
                return 0;
        case OPTION_SINCE:
                return parse_when(value, (int64_t)time(NULL) * (int64_t)USEC_PER_SEC, &o->since) < 0
                               ? usage("not a point in time such as 2h, today or 2026-11-24:", value)
                               : 0;
        case OPTION_SOCKET:
                o->socket = value;
                return 0;
        default: /* getopt_long() has said what is wrong */
                return usage("wrong usage", NULL);
        }
}

static const struct verb *verb_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (STREQ(verbs[i].verb, name))
                        return &verbs[i];
        return NULL;
}

static int run(struct options *o, const struct verb *verb, char **arguments, int n)
{
        o->arguments = arguments;
        o->n_arguments = n;
        if (verb->name == NAME_BINARIES)
                for (int i = 0; i < n; i++)
                        arguments[i] = (char *)absolute(arguments[i]);
        if (verb->name == NAME_VMS && (n > 0) + o->all + o->outdated != 1)
                return usage("give the names of VMs, or --all, or --outdated to", verb->verb);
        if (verb->name == NAME_BINARIES || verb->name == NAME_VMS)
                return verb->run(o);
        if (n > (verb->name != NAME_NONE))
                return usage("too many arguments for", verb->verb);
        if (n == 0 && verb->name == NAME_MUST)
                return usage("give the VM's name to", verb->verb);
        o->name = n ? arguments[0] : NULL;
        if (verb->run == verb_register && (!o->pid || !o->qmp))
                return usage("register needs --pid and --qmp", NULL);
        return verb->run(o);
}

int main(int argc, char **argv)
{
        struct options o = {};
        const struct verb *verb;
        int option, status = 0;

        while (status == 0 && (option = getopt_long(argc, argv, "hy", long_options, NULL)) >= 0) {
                if (option == 'h') {
                        help();
                        return 0;
                }
                if (option == OPTION_VERSION) {
                        printf("cprctl %s\n", CPRD_VERSION);
                        return 0;
                }
                status = take_option(&o, option, optarg);
        }
        if (status == 0 && optind == argc) {
                status = verb_status(&o);
        } else if (status == 0) {
                verb = verb_find(argv[optind]);
                status = verb ? run(&o, verb, argv + optind + 1, argc - optind - 1)
                              : usage("there is no command", argv[optind]);
        }
        json_object_put(o.faults);
        if (fflush(stdout) != 0 && status == 0)
                status = EXIT_REFUSED;
        return status;
}
