/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/batch.h"

#include "cli/format.h"
#include "cli/verbs.h"
#include "cli/vms.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define AT_ONCE 16 /* calls; how many handoffs run at a time is up to cprd */

/* The handoff of one VM: a child process calls cprd, because libcprd's calls block, and reports the end over
 * a pipe. */
struct task {
        const char *name; /* borrowed */
        pid_t child;
        FILE *pipe;
        int status;
};

struct batch {
        const struct options *options;
        struct task *tasks;
        size_t n, begun, ended, counts[4];
        int worst;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
        interrupted = 1;
}

/* ---- what is asked first ---- */

static bool answer_is_yes(void)
{
        char line[16];

        return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

bool batch_confirm(const struct options *o, json_object *vms)
{
        size_t n = 0;

        for (size_t i = 0; i < json_object_array_length(vms); i++) {
                json_object *vm = json_object_array_get_idx(vms, i);

                if (!vm_runs_already(vm, o->qemu))
                        continue;
                n++;
                fprintf(stderr, "%s already runs this QEMU: %s\n", json_str(vm, "name") ?: "?",
                        o->qemu ?: json_str(vm, "binary") ?: "?");
        }
        if (n == 0 || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
                return true;
        fprintf(stderr, "Hand %s off anyway? [y/N] ", n == 1 ? "it" : "them");
        return answer_is_yes();
}

/* The VMs that are meant: an array of Vm, which the caller must put. Names that cprd does not know are
 * included, so that the handoff reports them. */
static int choose(const struct options *o, json_object **ret)
{
        _cleanup_json_ json_object *reply = NULL, *chosen = json_object_new_array();
        json_object *vms;
        int r = vms_get(o, &reply);

        if (r != 0)
                return r;
        vms = json_arr(reply, "vms");
        for (size_t i = 0; vms && i < json_object_array_length(vms) && !o->n_arguments; i++) {
                json_object *vm = json_object_array_get_idx(vms, i);

                if (STREQ(json_str(vm, "state") ?: "", "running"))
                        json_object_array_add(chosen, json_object_get(vm));
                else if (STREQ(json_str(vm, "state") ?: "", "handoff"))
                        fprintf(stderr, "%s is left out: a handoff or a check of it is in flight\n",
                                json_str(vm, "name") ?: "?");
        }
        for (int k = 0; k < o->n_arguments; k++) {
                json_object *found = NULL;

                for (size_t i = 0; vms && i < json_object_array_length(vms); i++)
                        if (STREQ(json_str(json_object_array_get_idx(vms, i), "name") ?: "", o->arguments[k]))
                                found = json_object_get(json_object_array_get_idx(vms, i));
                if (!found) {
                        found = json_object_new_object();
                        json_add_str(found, "name", o->arguments[k]);
                }
                json_object_array_add(chosen, found);
        }
        *ret = TAKE_PTR(chosen);
        return 0;
}

/* ---- the children ---- */

static void run_child(const struct batch *b, const struct task *t, int fd)
{
        struct options o = *b->options;
        _cleanup_json_ json_object *end = NULL;
        int status;

        o.name = t->name;
        status = handoff_run(&o, true, &end);
        if (end) {
                json_add_str(end, "name", t->name);
                dprintf(fd, "%s\n", json_object_to_json_string_ext(end, JSON_C_TO_STRING_PLAIN));
        }
        _exit(status);
}

static int begin_one(struct batch *b)
{
        struct task *t = &b->tasks[b->begun];
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        fflush(NULL);
        t->child = fork();
        if (t->child == 0) {
                close(fds[0]);
                run_child(b, t, fds[1]);
        }
        close(fds[1]);
        t->pipe = t->child > 0 ? fdopen(fds[0], "r") : NULL;
        if (!t->pipe) {
                close(fds[0]);
                return -ENOMEM;
        }
        b->begun++;
        return 0;
}

/* As many as there is room for. If the system runs out of something, the rest waits for those that are
 * running. */
static void begin_some(struct batch *b)
{
        while (b->begun < b->n && b->begun - b->ended < AT_ONCE && !interrupted) {
                int r = begin_one(b);

                if (r >= 0)
                        continue;
                if (b->begun == b->ended) {
                        fprintf(stderr, "cprctl: %s\n", strerror(-r));
                        interrupted = 1;
                }
                return;
        }
}

static void print_end(const char *name, json_object *end, int status)
{
        json_object *record = json_obj(end, "record"), *parameters = json_obj(end, "parameters");
        const char *reason = json_str(record, "reason"), *id = json_str(end, "id");
        int64_t pause = json_int(record, "pause", -1), lost = json_int(record, "lost", 0);
        char text[TEXT_MAX], what[512];

        printf("%s%s%s: ",
               colour(stdout, status == 0                     ? COLOUR_GOOD
                              : status == EXIT_NEEDS_OPERATOR ? COLOUR_BAD
                                                              : COLOUR_WARN),
               name, colour(stdout, COLOUR_NONE));
        if (!record) {
                if (json_str(end, "error"))
                        printf("%s\n",
                               client_error_text(json_str(end, "error"), parameters, what, sizeof(what)));
                else
                        printf("its outcome is not known%s%s\n", id ? "; see cprctl history --id " : "",
                               id ?: "");
                return;
        }
        printf("%s, QEMU %s -> %s", format_outcome(json_str(record, "outcome")),
               format_qemu(json_obj(record, "source")), format_qemu(json_obj(record, "destination")));
        if (pause >= 0)
                printf(", pause %s", format_duration(pause, text));
        if (lost > 0)
                printf(", %s%" PRIi64 " connections lost%s", colour(stdout, COLOUR_BAD), lost,
                       colour(stdout, COLOUR_NONE));
        printf(", record %s%s%s\n", json_str(record, "id") ?: "?", reason ? ": " : "", reason ?: "");
}

static void end_one(struct batch *b, struct task *t)
{
        _cleanup_json_ json_object *end = NULL;
        _cleanup_free_ char *line = NULL;
        size_t size = 0;
        int status = 0;

        if (getline(&line, &size, t->pipe) > 0)
                end = json_tokener_parse(line);
        fclose(TAKE_PTR(t->pipe));
        while (waitpid(t->child, &status, 0) < 0 && errno == EINTR)
                ;
        t->status = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_NEEDS_OPERATOR;
        b->ended++;
        b->worst = t->status > b->worst ? t->status : b->worst;
        if ((size_t)t->status < ELEMENTSOF(b->counts))
                b->counts[t->status]++;
        if (b->options->json)
                client_print_json(end);
        else
                print_end(t->name, end, t->status);
        fflush(stdout);
}

/* Waits until a child reports, which it does once, when it ends. */
static void wait_for_ends(struct batch *b)
{
        struct pollfd pollers[AT_ONCE];
        struct task *tasks[AT_ONCE];
        size_t n = 0;

        for (size_t i = 0; i < b->begun && n < AT_ONCE; i++) {
                if (!b->tasks[i].pipe)
                        continue;
                tasks[n] = &b->tasks[i];
                pollers[n++] = (struct pollfd){.fd = fileno(b->tasks[i].pipe), .events = POLLIN};
        }
        if (n == 0 || poll(pollers, n, -1) < 0)
                return;
        for (size_t i = 0; i < n; i++)
                if (pollers[i].revents)
                        end_one(b, tasks[i]);
}

static void print_sum(const struct batch *b)
{
        static const char *const words[] = {NULL, "refused", "still on the source", "in need of an operator"};
        const char *comma = ": ";

        printf("%zu VM%s", b->n, b->n == 1 ? "" : "s");
        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                if (b->counts[i] == 0)
                        continue;
                printf("%s%zu %s", comma, b->counts[i],
                       words[i]
                               ?: b->options->rehearse ? "rehearsed"
                                                       : "updated");
                comma = ", ";
        }
        if (b->begun < b->n)
                printf("%s%zu not begun", comma, b->n - b->begun);
        printf("\n");
}

static int run_all(struct batch *b, json_object *vms)
{
        struct sigaction action = {.sa_handler = on_signal};

        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        for (size_t i = 0; i < b->n; i++)
                b->tasks[i].name = json_str(json_object_array_get_idx(vms, i), "name");
        while (b->ended < b->begun || (b->begun < b->n && !interrupted)) {
                begin_some(b);
                wait_for_ends(b);
        }
        if (!b->options->json)
                print_sum(b);
        return interrupted ? EXIT_INTERRUPTED : b->worst;
}

int batch_handoff(const struct options *o)
{
        _cleanup_json_ json_object *vms = NULL;
        struct batch b = {.options = o};
        int r = choose(o, &vms);

        if (r != 0)
                return r;
        b.n = json_object_array_length(vms);
        if (b.n == 0) {
                fprintf(stderr, "cprctl: no VM is %s\n", o->outdated ? "outdated" : "running");
                return 0;
        }
        if (!o->json && !o->yes && !o->rehearse && !batch_confirm(o, vms))
                return EXIT_REFUSED;
        b.tasks = calloc(b.n, sizeof(*b.tasks));
        if (!b.tasks)
                return EXIT_REFUSED;
        r = run_all(&b, vms);
        free(b.tasks);
        return r;
}
