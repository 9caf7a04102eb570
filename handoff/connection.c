/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/connection.h"

#include "common/log.h"
#include "handoff/freeze.h"
#include "handoff/optstr.h"
#include "handoff/quiet.h"
#include "handoff/sockets.h"
#include "handoff/wait.h"

#include <fcntl.h>
#include <sys/socket.h>

/* A fact of each connection: label, quiet and live (the sockets' inodes), in the source fd, quietFd, saved,
 * in the destination place, held. -1: not there. */

static size_t count(const struct handoff *h)
{
        return h->facts.connections ? json_object_array_length(h->facts.connections) : 0;
}

static json_object *connection(const struct handoff *h, size_t i)
{
        return json_object_array_get_idx(h->facts.connections, i);
}

static int number(json_object *c, const char *name)
{
        return (int)json_int(c, name, -1);
}

/* ---- which ---- */

/* Whether an option of the destination makes a device that uses chardev @label, and that has all that it
 * could not write in its state. */
static bool uses_well(const char *option, const char *value, const char *label)
{
        static const char *const kept[] = {"isa-serial", "pci-serial", "virtserialport"};
        _cleanup_free_ char *driver = NULL, *used = NULL;

        if (STREQ(option, "-serial"))
                return strncmp(value, "chardev:", 8) == 0 && STREQ(value + 8, label);
        if (!STREQ(option, "-device"))
                return false;
        driver = optstr_first(value, "driver");
        used = optstr_get(value, "chardev");
        for (size_t i = 0; driver && used && i < ELEMENTSOF(kept); i++)
                if (STREQ(driver, kept[i]) && STREQ(used, label))
                        return true;
        return false;
}

static bool is_used_well(const struct handoff *h, const char *label)
{
        const struct cmdline *c = &h->destination.cmdline;

        for (size_t i = 0; i + 1 < c->n; i++)
                if (uses_well(c->argv[i], c->argv[i + 1], label))
                        return true;
        return false;
}

bool connection_is_kept(const struct handoff *h, const char *label)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;

        for (size_t i = 0; i < facts->n_listeners; i++)
                if (facts->listeners[i].label && STREQ(facts->listeners[i].source_label, label))
                        return is_used_well(h, facts->listeners[i].label);
        return false;
}

/* Whether a client's socket was accepted by the listener at @path, or by one that had a name beside it. */
static bool is_client_of(const struct socket_fd *s, const char *path)
{
        size_t n = strlen(path);

        return !s->listens && s->is_unix && strncmp(s->service, path, n) == 0 &&
               (s->service[n] == '\0' || strncmp(s->service + n, ".cprd-", 6) == 0);
}

/* NULL: there is none. A listener has one at a time. */
static const struct socket_fd *find_client(const struct socket_fd *sockets, int n, const char *path)
{
        for (int i = 0; i < n; i++)
                if (is_client_of(&sockets[i], path))
                        return &sockets[i];
        return NULL;
}

/* ---- match ---- */

static const struct vm_socket *listener_of(const struct handoff *h, const char *label)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;

        for (size_t i = 0; i < facts->n_listeners; i++)
                if (facts->listeners[i].label && STREQ(facts->listeners[i].label, label))
                        return &facts->listeners[i];
        return NULL;
}

static bool is_prepared(const struct handoff *h, const char *label)
{
        for (size_t i = 0; i < count(h); i++)
                if (STREQ(json_str(connection(h, i), "label") ?: "", label))
                        return true;
        return false;
}

static int prepare(struct handoff *h, const char *label, struct failure *f)
{
        json_object *c = json_object_new_object();
        int r;

        if (!h->facts.connections)
                h->facts.connections = json_object_new_array();
        json_add_str(c, "label", label);
        json_object_array_add(h->facts.connections, c);
        r = quiet_make(h, c, count(h) - 1, f);
        return r < 0 ? r : handoff_note(h, "connections", f);
}

int connections_match(struct handoff *h, struct failure *f)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;
        _cleanup_free_ struct socket_fd *sockets = NULL;
        int n = sockets_list(&h->source.process, &sockets), r = 0;

        for (size_t i = 0; r >= 0 && i < facts->n_listeners; i++) {
                const char *label = facts->listeners[i].label;

                if (label && find_client(sockets, n, facts->listeners[i].path) && is_used_well(h, label) &&
                    !is_prepared(h, label))
                        r = prepare(h, label, f);
        }
        return r;
}

/* ---- load: away from the source ---- */

static void mark_clients(struct handoff *h)
{
        _cleanup_free_ struct socket_fd *sockets = NULL;
        int n = sockets_list(&h->source.process, &sockets);

        for (size_t i = 0; i < count(h); i++) {
                const struct vm_socket *l = listener_of(h, json_str(connection(h, i), "label") ?: "");
                const struct socket_fd *client = l ? find_client(sockets, n, l->path) : NULL;

                json_add_int(connection(h, i), "fd", client ? client->number : -1);
                json_add_int(connection(h, i), "live", client ? (int64_t)client->inode : 0);
        }
}

/* Of each connection that is there: a duplicate of its fd, if @save, or else the quiet socket in its place.
 */
static int inject_all(struct handoff *h, bool save, struct failure *f)
{
        _cleanup_free_ struct injection *calls = mem_new(count(h) + 1, sizeof(*calls));
        size_t n = 0, used = 0;
        int r;

        for (size_t i = 0; i < count(h); i++) {
                json_object *c = connection(h, i);
                uint64_t fd = (uint64_t)number(c, "fd");

                if (number(c, "fd") < 0)
                        continue;
                if (save)
                        calls[n++] = (struct injection){.nr = SYS_fcntl, .arguments = {fd, F_DUPFD_CLOEXEC}};
                else
                        calls[n++] = (struct injection){
                                .nr = SYS_dup3, .arguments = {(uint64_t)number(c, "quietFd"), fd, O_CLOEXEC}};
        }
        r = n ? freeze_inject(h, calls, n, f) : 0;
        for (size_t i = 0; r >= 0 && save && i < count(h); i++)
                if (number(connection(h, i), "fd") >= 0)
                        json_add_int(connection(h, i), "saved", calls[used++].result);
        return r;
}

/* Its main thread is stopped meanwhile: what is looked at is not closed and used for something else. */
static int take_from_source(struct handoff *h, struct failure *f)
{
        int r = freeze_begin(h, f);

        if (r >= 0) {
                mark_clients(h);
                r = inject_all(h, true, f);
        }
        if (r >= 0)
                r = handoff_note(h, "connections", f);
        if (r >= 0)
                r = inject_all(h, false, f);
        freeze_thaw(h);
        return r;
}

int connections_part(struct handoff *h, struct failure *f)
{
        int r = connections_match(h, f); /* somebody may have connected since */

        if (r >= 0 && count(h))
                r = take_from_source(h, f);
        for (size_t i = 0; r >= 0 && i < count(h); i++)
                r = quiet_give(h, connection(h, i), i, f);
        return r < 0 || !count(h) ? r : handoff_note(h, "connections", f);
}

/* ---- the way back ---- */

/* Only what is there: it may not have got that far. */
static size_t make_way_back(struct handoff *h, struct injection *calls)
{
        const struct process *p = &h->source.process;
        size_t n = 0;

        for (size_t i = 0; i < count(h); i++) {
                json_object *c = connection(h, i);
                int fd = number(c, "fd"), saved = number(c, "saved");

                if (fd < 0 || !quiet_is_at(p, c, "live", saved) || !quiet_keeps_going(p, saved))
                        continue;
                if (quiet_is_at(p, c, "quiet", fd))
                        calls[n++] = (struct injection){
                                .nr = SYS_dup3, .arguments = {(uint64_t)saved, (uint64_t)fd, O_CLOEXEC}};
                calls[n++] = (struct injection){.nr = SYS_close, .arguments = {(uint64_t)saved}};
        }
        return n;
}

/* Whether its main thread has to be stopped at all: a rehearsal has taken nothing away. */
static bool has_parted(const struct handoff *h)
{
        for (size_t i = 0; i < count(h); i++)
                if (number(connection(h, i), "fd") >= 0)
                        return true;
        return false;
}

static void take_back(struct handoff *h, struct failure *f)
{
        _cleanup_free_ struct injection *calls = mem_new(2 * count(h) + 1, sizeof(*calls));
        size_t n;

        if (freeze_begin(h, f) >= 0) {
                n = make_way_back(h, calls);
                if (n)
                        freeze_inject(h, calls, n, f);
        }
        freeze_thaw(h);
}

void connections_rejoin(struct handoff *h)
{
        struct failure f = {};

        if (!count(h))
                return;
        if (has_parted(h))
                take_back(h, &f);
        if (f.error)
                log_failure(LOG_ERR, &f, "the source has not all of its clients back");
        for (size_t i = 0; i < count(h); i++)
                quiet_forget(h, h->source.qmp, i, false);
        json_object_put(TAKE_PTR(h->facts.connections));
}

/* ---- commit: to the destination ---- */

static size_t make_move(struct handoff *h, struct injection *calls)
{
        const struct process *p = &h->destination.process;
        size_t n = 0;

        for (size_t i = 0; i < count(h); i++) {
                json_object *c = connection(h, i);
                int place = number(c, "place"), held = number(c, "held");

                if (!quiet_is_at(p, c, "quiet", place)) /* already done */
                        continue;
                if (quiet_is_at(p, c, "live", held) && quiet_keeps_going(p, held))
                        calls[n++] = (struct injection){
                                .nr = SYS_dup3, .arguments = {(uint64_t)held, (uint64_t)place, O_CLOEXEC}};
                else /* its client has gone: to the destination too */
                        calls[n++] = (struct injection){.nr = SYS_shutdown,
                                                        .arguments = {(uint64_t)place, SHUT_RDWR}};
        }
        return n;
}

int connections_move(struct handoff *h, struct failure *f)
{
        _cleanup_free_ struct injection *calls = mem_new(count(h) + 1, sizeof(*calls));
        struct destination *d = &h->destination;
        size_t n;
        int r;

        if (!count(h))
                return 0;
        r = tracee_attach(&d->tracee, &d->process, 0, f);
        if (r >= 0)
                r = tracee_stop(&d->tracee, h->step.deadline, f);
        if (r >= 0) {
                n = make_move(h, calls);
                r = n ? inject_calls(&d->tracee, calls, n, h->step.deadline, f) : 0;
        }
        tracee_detach(&d->tracee, h->step.deadline);
        for (size_t i = 0; r >= 0 && i < count(h); i++)
                quiet_forget(h, d->qmp, i, true);
        return r;
}
