/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/cmdline.h"

#include "handoff/optstr.h"

#include <strings.h>

#define ID "command-line"

void cmdline_done(struct cmdline *c)
{
        for (size_t i = 0; i < c->n; i++)
                free(c->argv[i]);
        free(c->argv);
        *c = (struct cmdline){};
}

void cmdline_facts_done(struct cmdline_facts *facts)
{
        for (size_t i = 0; i < facts->n_listeners; i++) {
                free(facts->listeners[i].path);
                close_fd(facts->listeners[i].fd);
        }
        json_object_put(facts->ids);
        free(facts->cpu);
        *facts = (struct cmdline_facts){};
}

/* Takes @word over. */
static void add_word(struct cmdline *c, char *word)
{
        char **argv = word ? realloc(c->argv, (c->n + 2) * sizeof(*argv)) : NULL;

        if (!argv)
                abort();
        c->argv = argv;
        argv[c->n++] = word;
        argv[c->n] = NULL;
}

static void add(struct cmdline *c, const char *word)
{
        add_word(c, strdup(word));
}

static void add_option(struct cmdline *c, const char *option, const char *value)
{
        add(c, option);
        if (value)
                add(c, value);
}

int cmdline_parse(const char *data, size_t size, struct cmdline *ret, struct failure *f)
{
        struct cmdline c = {};

        if (size == 0 || data[size - 1] != '\0')
                return failure_set(f, EBADMSG, "the process has no readable command line");
        for (const char *word = data; word < data + size; word += strlen(word) + 1)
                add(&c, word);
        *ret = c;
        return 0;
}

/* One transformation under way. */
struct making {
        const struct cmdline_plan *plan;
        struct cmdline out;
        struct cmdline_facts *facts;
        struct findings *fs;
        const char *option;    /* as written, e.g. "-device" */
        const char *value;     /* NULL: it takes none */
        bool machine_is_named; /* some -machine named the type */
        size_t n_made;         /* chardevs made here */
};

static void keep(struct making *m)
{
        add_option(&m->out, m->option, m->value);
}

static void refuse(struct making *m, const char *why, const char *remedy)
{
        finding_block(m->fs, ID, remedy, "%s%s%s: %s", m->option, m->value ? " " : "", m->value ?: "", why);
        keep(m);
}

static void drop(struct making *m) {}

static void refuse_port(struct making *m)
{
        if (m->value && STREQ(m->value, "none"))
                keep(m);
        else
                refuse(m, "two QEMUs cannot listen on one port",
                       "start the VM without it, or with a unix socket");
}

static void refuse_config(struct making *m)
{
        refuse(m, "it configures the machine from outside the command line",
               "name the devices on the command line");
}

static void refuse_state(struct making *m)
{
        refuse(m, "its state belongs to one process and cannot be handed on", "start the VM without it");
}

static void refuse_pidfile(struct making *m)
{
        refuse(m, "QEMU locks its pidfile, and removes it when it exits",
               "start the VM without it; `cprctl show` tells the pid");
}

/* A listener at @path for the destination. Returns its fd number, or -1: too many. */
static int add_listener(struct making *m, const char *path)
{
        struct listener *l = &m->facts->listeners[m->facts->n_listeners];

        if (m->facts->n_listeners == LISTENERS_MAX || path[0] != '/')
                return -1;
        *l = (struct listener){
                .path = strdup(path),
                .fd_number = m->plan->first_listener_fd + (int)m->facts->n_listeners,
                .fd = -EBADF,
        };
        m->facts->n_listeners++;
        return l->fd_number;
}

/* "socket,id=…,path=…,server=on,wait=off": the destination gets the listening socket as an fd. */
static void take_server_socket(struct making *m, const char *option, const char *chardev)
{
        _cleanup_free_ char *path = optstr_get(chardev, "path"), *fd = optstr_get(chardev, "fd");
        _cleanup_free_ char *without = optstr_without(chardev, "path"), *with = NULL;
        char number[16];
        int n;

        if (!path && fd && m->plan->socket_path(m->plan->userdata, atoi(fd), &path) < 0)
                return refuse(m, "its fd is not a listening unix socket with a path",
                              "give the socket by its path");
        n = path && !optstr_is_on(chardev, "abstract") ? add_listener(m, path) : -1;
        if (n < 0)
                return refuse(m, "only unix sockets with an absolute path can be handed on",
                              "give it such a path");
        snprintf(number, sizeof(number), "%d", n);
        with = optstr_with(without, "fd", number);
        add_option(&m->out, option, with);
}

static void take_chardev_value(struct making *m, const char *chardev)
{
        _cleanup_free_ char *backend = optstr_first(chardev, "backend"), *appending = NULL;
        bool is_server = optstr_is_on(chardev, "server");

        if (!backend)
                return refuse(m, "it names no backend", "see -chardev help");
        if (STREQ(backend, "socket") && is_server && !strstr(chardev, "host="))
                return take_server_socket(m, "-chardev", chardev);
        if (STREQ(backend, "file")) {
                /* Or the destination would empty it. */
                appending = optstr_with(chardev, "append", "on");
                return add_option(&m->out, "-chardev", appending);
        }
        if (STREQ(backend, "socket") || STREQ(backend, "udp") || STREQ(backend, "websocket"))
                return refuse(m, "two QEMUs cannot have this connection or port at once",
                              "use a listening unix socket (path=…,server=on,wait=off)");
        if (STREQ(backend, "pty"))
                finding_warn(m->fs, ID, "use a listening unix socket",
                             "%s %s: the destination gets another pty", m->option, m->value);
        add_option(&m->out, "-chardev", chardev);
}

static void take_chardev(struct making *m)
{
        take_chardev_value(m, m->value);
}

/* The old short forms: -qmp unix:PATH,server=on,wait=off and the like become a -chardev and a user of it. */
static void take_short_chardev(struct making *m)
{
        static const char *const harmless[] = {"null", "none", "vc", "stdio", "mon:stdio", "pty"};
        _cleanup_free_ char *chardev = NULL, *user = NULL;
        char id[24];

        for (size_t i = 0; i < ELEMENTSOF(harmless); i++)
                if (STREQ(m->value, harmless[i]) || strncmp(m->value, "chardev:", 8) == 0)
                        return keep(m);
        snprintf(id, sizeof(id), "cprd-chr%zu", m->n_made++);
        if (strncmp(m->value, "unix:", 5) == 0) {
                if (asprintf(&chardev, "socket,id=%s,path=%s", id, m->value + 5) < 0)
                        abort();
        } else if (strncmp(m->value, "file:", 5) == 0) {
                _cleanup_free_ char *file = NULL;

                if (asprintf(&file, "file,id=%s", id) < 0)
                        abort();
                chardev = optstr_with(file, "path", m->value + 5);
        } else
                return refuse(m, "two QEMUs cannot have this connection at once",
                              "use unix:PATH,server=on,wait=off");
        take_chardev_value(m, chardev);
        if (strstr(m->option, "-qmp") || strstr(m->option, "-monitor")) {
                if (asprintf(&user, "chardev=%s,mode=%s%s", id,
                             strstr(m->option, "-qmp") ? "control" : "readline",
                             strstr(m->option, "pretty") ? ",pretty=on" : "") < 0)
                        abort();
                return add_option(&m->out, "-mon", user);
        }
        if (asprintf(&user, "chardev:%s", id) < 0)
                abort();
        add_option(&m->out, m->option, user);
}

static void take_netdev(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "type");

        if (type && (STREQ(type, "none") || STREQ(type, "hubport") ||
                     (STREQ(type, "user") && !strstr(m->value, "hostfwd") && !strstr(m->value, "guestfwd"))))
                return keep(m);
        refuse(m, "its host side cannot be opened by two QEMUs at once, and is not handed on by cprd",
               "give the VM its network by other means than this backend, or wait for a cprd that hands it on");
}

static void take_display(struct making *m)
{
        if (STREQ(m->value, "none") || strncmp(m->value, "egl-headless", 12) == 0)
                return keep(m);
        refuse(m, "a window or a display server's port belongs to one process", "use -display none");
}

/* -machine and -M may come several times, and are merged by QEMU. */
static void take_machine(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "type"), *pinned = NULL;

        if (!type)
                return keep(m);
        m->machine_is_named = true;
        pinned = optstr_with_first(m->value, "type", m->plan->machine);
        add_option(&m->out, "-machine", pinned);
}

static void take_cpu(struct making *m)
{
        _cleanup_free_ char *model = optstr_first(m->value, "model");

        free(m->facts->cpu);
        m->facts->cpu = TAKE_PTR(model);
        keep(m);
}

static void note_device(struct making *m, const char *id)
{
        if (!m->facts->ids)
                m->facts->ids = json_object_new_object();
        if (id)
                json_add_bool(m->facts->ids, id, true);
        else
                m->facts->n_devices++;
}

static bool is_vsock(const char *driver)
{
        return driver && strncmp(driver, "vhost-vsock", 11) == 0;
}

static void take_json_device(struct making *m)
{
        _cleanup_json_ json_object *o = json_tokener_parse(m->value);
        json_object *fd;
        char number[16];

        if (!json_object_is_type(o, json_type_object))
                return refuse(m, "it is not a JSON object", "see -device help");
        note_device(m, json_str(o, "id"));
        if (!is_vsock(json_str(o, "driver")))
                return keep(m);
        m->facts->n_vsock++;
        m->facts->cid = (uint64_t)json_int(o, "guest-cid", 0);
        m->facts->vhostfd = -1;
        if (json_object_object_get_ex(o, "vhostfd", &fd))
                m->facts->vhostfd = json_object_get_int(fd);
        snprintf(number, sizeof(number), "%d", m->plan->device_fd);
        json_add_str(o, "vhostfd", number);
        add_option(
                &m->out, "-device",
                json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void take_device(struct making *m)
{
        _cleanup_free_ char *driver = NULL, *id = NULL, *fd = NULL, *cid = NULL, *changed = NULL;
        char number[16];

        if (m->value[0] == '{')
                return take_json_device(m);
        driver = optstr_first(m->value, "driver");
        id = optstr_get(m->value, "id");
        note_device(m, id);
        if (!is_vsock(driver))
                return keep(m);
        fd = optstr_get(m->value, "vhostfd");
        cid = optstr_get(m->value, "guest-cid");
        m->facts->n_vsock++;
        m->facts->vhostfd = fd ? atoi(fd) : -1;
        m->facts->cid = cid ? strtoull(cid, NULL, 0) : 0;
        snprintf(number, sizeof(number), "%d", m->plan->device_fd);
        changed = optstr_with(m->value, "vhostfd", number);
        add_option(&m->out, "-device", changed);
}

/* These make a device of their own, without an id. */
static void take_drive(struct making *m)
{
        _cleanup_free_ char *interface = optstr_get(m->value, "if");

        if (interface && STREQ(interface, "virtio"))
                m->facts->n_devices++;
        keep(m);
}

static void take_virtfs(struct making *m)
{
        m->facts->n_devices++;
        keep(m);
}

static void take_run_with(struct making *m)
{
        _cleanup_free_ char *root = optstr_get(m->value, "chroot"), *user = optstr_get(m->value, "user");

        if (root || user)
                return refuse(m, "the destination is started as what the source has become by it",
                              "let the service manager set user and root");
        keep(m);
}

/* Every option that is not taken over as it is. */
static const struct {
        const char *option;
        void (*take)(struct making *m);
} rules[] = {
        {"-S", drop}, /* added again: only our `cont` starts the guest */
        {"-incoming", drop},
        {"-loadvm", drop},
        {"-daemonize", drop}, /* it is nobody's foreground process anyway */
        {"-runas", drop},     /* it starts with the credentials the source has now */
        {"-device", take_device},
        {"-machine", take_machine},
        {"-M", take_machine},
        {"-cpu", take_cpu},
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
        {"-run-with", take_run_with},
        {"-drive", take_drive},
        {"-virtfs", take_virtfs},
        {"-vnc", refuse_port},
        {"-spice", refuse_port},
        {"-gdb", refuse_port},
        {"-s", refuse_port},
        {"-readconfig", refuse_config},
        {"-preconfig", refuse_config},
        {"-snapshot", refuse_state},
        {"-add-fd", refuse_state},
        {"-chroot", refuse_state},
        {"-pidfile", refuse_pidfile},
};

/* The options of qemu-system that take no value; every other one takes one. */
static bool takes_value(const char *option)
{
        static const char *const alone[] = {
                "-S",
                "-s",
                "-snapshot",
                "-daemonize",
                "-nodefaults",
                "-no-user-config",
                "-nographic",
                "-no-reboot",
                "-no-shutdown",
                "-enable-kvm",
                "-full-screen",
                "-usb",
                "-preconfig",
                "-only-migratable",
                "-mem-prealloc",
                "-no-fd-bootchk",
                "-no-acpi",
                "-no-hpet",
                "-semihosting",
                "-win2k-hack",
                "-one-insn-per-tb",
                "-singlestep",
                "-portrait",
                "-no-quit",
                "-enable-sync-profile",
                "-old-param",
                "-xen-attach",
                "-xen-domid-restrict",
        };

        for (size_t i = 0; i < ELEMENTSOF(alone); i++)
                if (STREQ(option, alone[i]))
                        return false;
        return true;
}

static void take_option(struct making *m)
{
        for (size_t i = 0; i < ELEMENTSOF(rules); i++)
                if (STREQ(m->option, rules[i].option))
                        return rules[i].take(m);
        keep(m);
}

static void add_start(struct making *m)
{
        _cleanup_free_ char *cpr = NULL, *channel = NULL;

        if (!m->machine_is_named)
                add_option(&m->out, "-machine", m->plan->machine);
        add_option(&m->out, "-S", NULL);
        if (asprintf(&channel, "unix:%s", m->plan->main_path) < 0 ||
            asprintf(&cpr,
                     "{\"channel-type\":\"cpr\",\"addr\":"
                     "{\"transport\":\"socket\",\"type\":\"unix\",\"path\":\"%s\"}}",
                     m->plan->cpr_path) < 0)
                abort();
        add_option(&m->out, "-incoming", channel);
        add_option(&m->out, "-incoming", cpr);
}

int cmdline_make(const struct cmdline *source, const struct cmdline_plan *plan, struct cmdline *ret,
                 struct cmdline_facts *ret_facts, struct findings *fs)
{
        struct cmdline_facts facts = {.vhostfd = -1};
        struct making m = {.plan = plan, .facts = &facts, .fs = fs};

        add(&m.out, plan->binary);
        for (size_t i = 1; i < source->n; i++) {
                const char *word = source->argv[i];
                _cleanup_free_ char *option = NULL;

                /* "--machine" is "-machine"; a word that is no option is a disk image. */
                option = strdup(word[0] == '-' && word[1] == '-' ? word + 1 : word);
                m.option = option;
                m.value = word[0] == '-' && takes_value(option) ? source->argv[i + 1] : NULL;
                if (word[0] == '-' && takes_value(option) && !m.value) {
                        refuse(&m, "its value is missing", "register the process of a QEMU that runs");
                        break;
                }
                take_option(&m);
                i += m.value != NULL;
        }
        add_start(&m);
        *ret = m.out;
        *ret_facts = facts;
        return 0;
}
