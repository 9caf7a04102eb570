/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/making.h"
#include "handoff/optstr.h"

/* A listener at @path for the destination. Returns its fd number, or -1: too many. */
static int add_listener(struct making *m, const char *path)
{
        struct vm_socket *l = &m->facts->listeners[m->facts->n_listeners];

        if (m->facts->n_listeners == LISTENERS_MAX || path[0] != '/')
                return -1;
        *l = (struct vm_socket){
                .path = text_copy(path),
                .fd_number = m->plan->first_listener_fd + (int)m->facts->n_listeners,
                .fd = -EBADF,
        };
        m->facts->n_listeners++;
        return l->fd_number;
}

/* Whether what goes over its connection is the device's bytes, with no state of a protocol's beside them. */
static bool is_plain(const char *chardev)
{
        static const char *const more[] = {"telnet", "tn3270", "websocket", "mux"};
        _cleanup_free_ char *tls = optstr_get(chardev, "tls-creds");
        bool plain = !tls;

        for (size_t i = 0; i < ELEMENTSOF(more); i++)
                plain = plain && !optstr_is_on(chardev, more[i]);
        return plain;
}

/* Whose listener @l is: its client's connection may be handed on (connection.h). */
static void name_listener(struct making *m, struct vm_socket *l, const char *chardev)
{
        char *id = is_plain(chardev) ? optstr_get(chardev, "id") : NULL;

        if (!id)
                return;
        l->label = id;
        l->source_label =
                STREQ(m->option, "-serial") ? text_print("serial%zu", m->n_serial - 1) : text_copy(id);
}

/* "socket,id=…,path=…,server=on,…": the destination gets the listening socket as an fd. With wait=on, which
 * is the default, it would not start before it had a client. */
static void take_server_socket(struct making *m, const char *chardev)
{
        _cleanup_free_ char *path = optstr_get(chardev, "path"), *fd = optstr_get(chardev, "fd");
        _cleanup_free_ char *without = optstr_without(chardev, "path"), *unwaiting = NULL, *with = NULL;
        char number[16];
        int n;

        if (!path && fd && m->plan->socket_path(m->plan->userdata, atoi(fd), &path) < 0)
                return making_refuse(m, "its fd is not a listening unix socket with a path",
                                     "give the socket by its path");
        n = path && !optstr_is_on(chardev, "abstract") ? add_listener(m, path) : -1;
        if (n < 0)
                return making_refuse(m, "only unix sockets with an absolute path can be handed on",
                                     "give it such a path");
        name_listener(m, &m->facts->listeners[m->facts->n_listeners - 1], chardev);
        snprintf(number, sizeof(number), "%d", n);
        unwaiting = optstr_with(without, "wait", "off");
        with = optstr_with(unwaiting, "fd", number);
        making_add(m, "-chardev", with);
}

static void take_socket(struct making *m, const char *chardev)
{
        _cleanup_free_ char *host = optstr_get(chardev, "host"), *port = optstr_get(chardev, "port");

        if (optstr_is_on(chardev, "server") && !host && !port)
                return take_server_socket(m, chardev);
        making_refuse(m, "two QEMUs cannot have this connection or port at once",
                      "use a listening unix socket (path=…,server=on,wait=off)");
}

static void take_udp(struct making *m, const char *chardev)
{
        making_refuse(m, "two QEMUs cannot have this port at once",
                      "use a listening unix socket (path=…,server=on,wait=off)");
}

/* Otherwise the destination would empty it. */
static void take_file(struct making *m, const char *chardev)
{
        _cleanup_free_ char *appending = optstr_with(chardev, "append", "on");

        making_add(m, "-chardev", appending);
}

static void take_shared_input(struct making *m, const char *chardev)
{
        making_refuse(m, "two QEMUs would take turns at reading what comes from it",
                      "use a listening unix socket (path=…,server=on,wait=off)");
}

static void take_pty(struct making *m, const char *chardev)
{
        _cleanup_free_ char *path = optstr_get(chardev, "path");

        if (path)
                return making_refuse(m, "two QEMUs cannot make one link", "start the VM without path=");
        making_warn(m, "the destination gets another pty", "use a listening unix socket");
        making_add(m, "-chardev", chardev);
}

static void take_ring(struct making *m, const char *chardev)
{
        making_warn(m, "what is in it is not handed on", "read it before (QMP ringbuf-read)");
        making_add(m, "-chardev", chardev);
}

/* Every other kind is the same for two QEMUs. */
static const struct {
        const char *kind;
        void (*take)(struct making *m, const char *chardev);
} kinds[] = {
        {"socket", take_socket},
        {"udp", take_udp},
        {"websocket", take_socket},
        {"file", take_file},
        {"pty", take_pty},
        {"pipe", take_shared_input},
        {"serial", take_shared_input},
        {"tty", take_shared_input},
        {"parallel", take_shared_input},
        {"parport", take_shared_input},
        {"ringbuf", take_ring},
        {"memory", take_ring},
};

static void take_value(struct making *m, const char *written)
{
        _cleanup_free_ char *kind = optstr_first(written, "backend"), *log = optstr_get(written, "logfile");
        /* Otherwise the destination would empty the log. */
        _cleanup_free_ char *chardev = log ? optstr_with(written, "logappend", "on") : text_copy(written);

        if (!kind)
                return making_refuse(m, "it names no backend", "see -chardev help");
        for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
                if (STREQ(kind, kinds[i].kind))
                        return kinds[i].take(m, chardev);
        making_add(m, "-chardev", chardev);
}

void take_chardev(struct making *m)
{
        take_value(m, m->value);
}

static bool begins(const char *s, const char *with)
{
        return strncmp(s, with, strlen(with)) == 0;
}

/* Those that need no chardev of their own. Returns whether it is one. */
static bool take_simple(struct making *m)
{
        static const char *const harmless[] = {"null", "none", "stdio", "mon:stdio", "msmouse"};
        bool simple = begins(m->value, "chardev:") || STREQ(m->value, "vc") || begins(m->value, "vc:");

        for (size_t i = 0; i < ELEMENTSOF(harmless); i++)
                simple = simple || STREQ(m->value, harmless[i]);
        if (STREQ(m->value, "pty")) {
                making_warn(m, "the destination gets another pty", "use unix:PATH,server=on,wait=off");
                simple = true;
        }
        if (simple)
                making_keep(m);
        return simple;
}

/* "unix:…" or "file:…" as a -chardev with the id @id; NULL: it is neither. */
static char *long_form(const char *value, const char *id)
{
        _cleanup_free_ char *file = NULL;

        if (begins(value, "unix:"))
                return text_print("socket,id=%s,path=%s", id, value + strlen("unix:"));
        if (!begins(value, "file:"))
                return NULL;
        file = text_print("file,id=%s", id);
        return optstr_with(file, "path", value + strlen("file:"));
}

/* Notes who now uses the chardev @id: a monitor, or the option that it came from. */
static void add_user(struct making *m, const char *id)
{
        bool qmp = strstr(m->option, "-qmp"), monitor = qmp || STREQ(m->option, "-monitor");
        _cleanup_free_ char *user = NULL;

        if (monitor)
                user = text_print("chardev=%s,mode=%s%s", id, qmp ? "control" : "readline",
                                  strstr(m->option, "pretty") ? ",pretty=on" : "");
        else
                user = text_print("chardev:%s", id);
        making_add(m, monitor ? "-mon" : m->option, user);
}

/* The old short forms: -qmp unix:PATH,server=on,wait=off and the like become a -chardev and a user of it. */
void take_short_chardev(struct making *m)
{
        _cleanup_free_ char *chardev = NULL;
        char id[32];

        m->n_serial += STREQ(m->option, "-serial");
        if (take_simple(m))
                return;
        if (begins(m->value, "mon:"))
                return making_refuse(m, "a monitor and another user on one connection cannot be handed on",
                                     "give each a unix:PATH,server=on,wait=off of its own");
        snprintf(id, sizeof(id), "cprd-chr%zu", m->n_made++);
        chardev = long_form(m->value, id);
        if (!chardev)
                return making_refuse(m, "two QEMUs cannot have this connection at once",
                                     "use unix:PATH,server=on,wait=off");
        take_value(m, chardev);
        add_user(m, id);
}
