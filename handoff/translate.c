/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/translate.h"

#include "handoff/making.h"
#include "handoff/options.h"
#include "handoff/optstr.h"

/* ---- the process ---- */

static void drop(struct making *m) {}

static void refuse_port(struct making *m)
{
        if (m->value && STREQ(m->value, "none"))
                return making_keep(m);
        making_refuse(m, "two QEMUs cannot listen on one port",
                      "start the VM without it, or with a unix socket");
}

static void refuse_config(struct making *m)
{
        making_refuse(m, "it configures the machine from outside the command line",
                      "name the devices on the command line");
}

static void refuse_snapshot(struct making *m)
{
        making_refuse(m, "what the guest wrote is in files of the source's own that have no name",
                      "give each drive an overlay with a name (qemu-img create -b)");
}

static void refuse_fd(struct making *m)
{
        making_refuse(m, "it names an fd of the source that cprd does not hand on",
                      "let QEMU open the file by its path");
}

static void refuse_qtest(struct making *m)
{
        making_refuse(m, "a test drives this machine, which would lose it", "start the VM without it");
}

/* pidfile.h. An earlier handoff may have made it. */
static void take_pidfile(struct making *m)
{
        _cleanup_free_ char *path = text_copy(m->value), *beside = NULL;
        char *suffix = strstr(path, ".cprd-");

        if (path[0] != '/')
                return making_refuse(m, "where that is depends on a directory that QEMU may have left since",
                                     "start the VM with an absolute path; `cprctl show` tells the pid");
        if (suffix)
                *suffix = '\0';
        beside = text_print("%s.cprd-%s", path, m->plan->id);
        making_add(m, m->option, beside);
        free(m->facts->pidfile);
        m->facts->pidfile = TAKE_PTR(path);
}

/* The destination starts as what these options made of the source: after a chroot it already has that root.
 * Its parent is cprd-handoff, which exits soon. */
static void take_run_with(struct making *m)
{
        _cleanup_free_ char *root = optstr_get(m->value, "chroot"), *rest = optstr_without(m->value, "user");

        if (root)
                return making_refuse(m, "the destination's files are not below that directory any more",
                                     "let the service manager set the root");
        if (optstr_is_on(m->value, "exit-with-parent"))
                return making_refuse(m,
                                     "the destination has another parent, and would exit when that one does",
                                     "start the VM without exit-with-parent=on");
        if (*rest)
                making_add(m, m->option, rest);
}

/* "PATH" of -D, or file=PATH of -trace: QEMU cannot append to it, and empties it. With %d in the name each
 * process has its own. */
static void take_log(struct making *m)
{
        bool is_trace = STREQ(m->option, "-trace");
        _cleanup_free_ char *path = is_trace ? optstr_get(m->value, "file") : text_copy(m->value);
        _cleanup_free_ char *rest = is_trace ? optstr_without(m->value, "file") : NULL;

        if (!path || strstr(path, "%d"))
                return making_keep(m);
        making_warn(m,
                    "the destination would empty this file, and writes its log to its standard error instead",
                    "write %d in the name: each QEMU has a file of its own then");
        if (rest && *rest)
                making_add(m, m->option, rest);
}

static void take_icount(struct making *m)
{
        _cleanup_free_ char *replay = optstr_get(m->value, "rr");

        if (replay)
                return making_refuse(m, "a recording belongs to one process", "start the VM without rr=");
        making_keep(m);
}

/* -set GROUP.ID.KEY=VALUE changes an earlier option, which may have been rewritten. */
static void take_set(struct making *m)
{
        const char *key = strrchr(m->value, '.');

        if (strncmp(m->value, "device.", 7) == 0 && key && !strstr(key, "fd") && !strstr(key, "guest-cid"))
                return making_keep(m);
        making_refuse(m, "it changes what another option says", "say it in that option");
}

/* ---- the machine ---- */

/* -machine and -M may come several times, and are merged by QEMU. */
static void take_machine(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "type"), *pinned = NULL;

        if (!type)
                return making_keep(m);
        m->machine_is_named = true;
        pinned = optstr_with_first(m->value, "type", m->plan->machine);
        making_add(m, "-machine", pinned);
}

static void take_cpu(struct making *m)
{
        _cleanup_free_ char *model = optstr_first(m->value, "model");

        free(m->facts->cpu);
        m->facts->cpu = TAKE_PTR(model);
        making_keep(m);
}

static void note_device(struct making *m, const char *id)
{
        if (!m->facts->ids)
                m->facts->ids = mem_check(json_object_new_object());
        if (id)
                json_add_bool(m->facts->ids, id, true);
        else
                m->facts->n_devices++;
}

static void take_vsock(struct making *m)
{
        _cleanup_free_ char *fd = optstr_get(m->value, "vhostfd"), *cid = optstr_get(m->value, "guest-cid");
        _cleanup_free_ char *changed = NULL;
        char number[16];

        m->facts->n_vsock++;
        m->facts->vhostfd = fd ? atoi(fd) : -1;
        m->facts->cid = cid ? strtoull(cid, NULL, 0) : 0;
        snprintf(number, sizeof(number), "%d", m->plan->device_fd);
        changed = optstr_with(m->value, "vhostfd", number);
        making_add(m, "-device", changed);
}

static void take_device(struct making *m)
{
        _cleanup_free_ char *driver = optstr_first(m->value, "driver"), *id = optstr_get(m->value, "id");
        _cleanup_free_ char *fd = optstr_get(m->value, "fd"), *vhostfd = optstr_get(m->value, "vhostfd");

        if (!driver)
                return making_refuse(m, "it names no driver", "see -device help");
        note_device(m, id);
        if (strncmp(driver, "vhost-vsock", 11) == 0)
                return take_vsock(m);
        if (fd || vhostfd)
                return refuse_fd(m);
        if (strncmp(driver, "virtio-net", 10) == 0 &&
            (optstr_is_on(m->value, "rss") || optstr_is_on(m->value, "hash")))
                return making_refuse(
                        m, "the host's part of it, a program in the TAP device, is the source's own",
                        "start the VM without rss=on and hash=on");
        making_keep(m);
}

static void take_virtfs(struct making *m)
{
        m->facts->n_devices++;
        making_keep(m);
}

/* Every option that is not taken over as it is. */
static const struct {
        const char *option;
        void (*take)(struct making *m);
} rules[] = {
        {"-S", drop}, /* added back: only our `cont` starts the guest */
        {"-incoming", drop},
        {"-loadvm", drop},
        {"-daemonize", drop}, /* it is not a foreground process anyway */
        {"-add-fd", drop},    /* added back as the source's sets are now (fdset.c) */
        {"-run-with", take_run_with},
        {"-device", take_device},
        {"-machine", take_machine},
        {"-M", take_machine},
        {"-cpu", take_cpu},
        {"-icount", take_icount},
        {"-set", take_set},
        {"-chardev", take_chardev},
        {"-qmp", take_short_chardev},
        {"-qmp-pretty", take_short_chardev},
        {"-monitor", take_short_chardev},
        {"-serial", take_short_chardev},
        {"-parallel", take_short_chardev},
        {"-debugcon", take_short_chardev},
        {"-netdev", take_netdev},
        {"-nic", take_netdev},
        {"-net", take_netdev},
        {"-display", take_display},
        {"-vnc", take_vnc},
        {"-spice", refuse_port},
        {"-gdb", refuse_port},
        {"-s", refuse_port},
        {"-drive", take_drive},
        {"-virtfs", take_virtfs},
        {"-object", take_object},
        {"-audiodev", take_audiodev},
        {"-audio", take_audiodev},
        {"-tpmdev", take_tpm},
        {"-D", take_log},
        {"-trace", take_log},
        {"-readconfig", refuse_config},
        {"-preconfig", refuse_config},
        {"-snapshot", refuse_snapshot},
        {"-qtest", refuse_qtest},
        {"-pidfile", take_pidfile},
};

static void take_option(struct making *m)
{
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if (STREQ(m->option, rules[i].option))
                        return rules[i].take(m);
        making_keep(m);
}

static void add_start(struct making *m)
{
        _cleanup_free_ char *channel = text_print("unix:%s", m->plan->main_path);
        _cleanup_free_ char *cpr = text_print("{\"channel-type\":\"cpr\",\"addr\":"
                                              "{\"transport\":\"socket\",\"type\":\"unix\",\"path\":\"%s\"}}",
                                              m->plan->cpr_path);

        if (!m->machine_is_named)
                making_add(m, "-machine", m->plan->machine);
        making_add(m, "-S", NULL);
        making_add(m, "-incoming", channel);
        making_add(m, "-incoming", cpr);
}

/* @value: the word after @word, NULL at the end. Returns whether that word belongs to the option. */
static bool take_word(struct making *m, const char *word, const char *value)
{
        enum option_kind kind = OPTION_ALONE;

        /* "--machine" is "-machine"; a word that is not an option is a disk image. */
        m->option = word[0] == '-' && word[1] == '-' ? word + 1 : word;
        m->value = NULL;
        if (word[0] == '-')
                kind = option_kind(m->option);
        if (kind == OPTION_UNKNOWN)
                making_refuse(m, "cprd does not know this option, nor whether a value follows it",
                              "make sure that the process is a qemu-system-x86_64 of version 10.0 to 11.1");
        else if (kind == OPTION_WITH_VALUE && !value)
                making_refuse(m, "its value is missing", "register the process of a QEMU that runs");
        else {
                m->value = kind == OPTION_WITH_VALUE ? value : NULL;
                take_option(m);
        }
        return kind == OPTION_WITH_VALUE;
}

int cmdline_make(const struct cmdline *source, const struct cmdline_plan *plan, struct cmdline *ret,
                 struct cmdline_facts *ret_facts, struct findings *fs)
{
        struct cmdline_facts facts = {.vhostfd = -1};
        struct making m = {.plan = plan, .facts = &facts, .fs = fs};

        cmdline_add(&m.out, plan->binary);
        for (size_t i = 1; i < source->n; i++)
                i += take_word(&m, source->argv[i], source->argv[i + 1]);
        add_start(&m);
        *ret = m.out;
        *ret_facts = facts;
        return 0;
}
