/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/making.h"
#include "handoff/optstr.h"

/* What says how a TAP device is opened, or by whom: the destination gets it open. */
static const char *const how_opened[] = {"fd", "fds",    "vhostfd", "vhostfds", "ifname",    "script",
                                         "br", "helper", "queues",  "vnet_hdr", "downscript"};

struct queues {
        int fds[NIC_QUEUES_MAX];
        size_t n;
};

static bool has(const char *value, const char *key)
{
        _cleanup_free_ char *found = optstr_get(value, key);

        return found;
}

static bool contains(const struct queues *q, int fd)
{
        for (size_t i = 0; i < q->n; i++)
                if (q->fds[i] == fd)
                        return true;
        return false;
}

static struct queues find(const struct making *m, const char *ifname)
{
        struct queues q = {};

        if (m->plan->find_taps)
                q.n = m->plan->find_taps(m->plan->userdata, ifname, q.fds);
        return q;
}

/* "3:4:5". An fd that is no TAP queue, or a name that QMP getfd gave: none at all. */
static struct queues named_queues(const struct making *m, const char *list)
{
        const struct queues taps = find(m, NULL);
        struct queues q = {};

        for (const char *at = list; *at;) {
                char *end;
                long fd = strtol(at, &end, 10);

                if (end == at || (*end && *end != ':') || q.n == NIC_QUEUES_MAX || !contains(&taps, (int)fd))
                        return (struct queues){};
                q.fds[q.n++] = (int)fd;
                at = *end ? end + 1 : end;
        }
        return q;
}

/* Of a device whose name the command line does not tell: the queues that no other backend has named, if they
 * are as many as it must have. */
static struct queues nameless_queues(const struct making *m, size_t wanted)
{
        const struct queues taps = find(m, NULL);
        struct queues q = {};

        for (size_t i = 0; i < taps.n; i++) {
                bool taken = false;

                for (size_t j = 0; j < m->facts->n_queues; j++)
                        taken = taken || m->facts->queues[j].source_fd == taps.fds[i];
                if (!taken)
                        q.fds[q.n++] = taps.fds[i];
        }
        return q.n == wanted ? q : (struct queues){};
}

/* In the order in which QEMU opened them, which is that of their numbers. */
static struct queues find_queues(const struct making *m)
{
        _cleanup_free_ char *fd = optstr_get(m->value, "fd"), *fds = optstr_get(m->value, "fds"),
                            *ifname = optstr_get(m->value, "ifname"), *n = optstr_get(m->value, "queues");
        size_t wanted = n ? strtoul(n, NULL, 10) : 1;
        struct queues q;

        if (fd || fds)
                return named_queues(m, fd ?: fds);
        if (!ifname || strchr(ifname, '%'))
                return nameless_queues(m, wanted);
        q = find(m, ifname);
        return q.n == wanted ? q : (struct queues){};
}

/* QEMU's own rule. */
static bool wants_vhost(const char *value)
{
        if (has(value, "vhost"))
                return optstr_is_on(value, "vhost");
        return has(value, "vhostfd") || has(value, "vhostfds") || optstr_is_on(value, "vhostforce");
}

static char *add_number(char *list, int number)
{
        _cleanup_free_ char *before = list;

        return before ? text_print("%s:%d", before, number) : text_print("%d", number);
}

/* *value is replaced. */
static void set(char **value, const char *key, const char *to)
{
        char *changed = to ? optstr_with(*value, key, to) : optstr_without(*value, key);

        free(*value);
        *value = changed;
}

static char *without_opening(const struct making *m)
{
        char *value = optstr_is_json(m->value) ? optstr_with(m->value, "type", "tap")
                                               : optstr_with_first(m->value, "type", "tap");

        for (size_t i = 0; i < ELEMENTSOF(how_opened); i++)
                set(&value, how_opened[i], NULL);
        return value;
}

static void hand_on(struct making *m, const struct queues *q)
{
        struct cmdline_facts *facts = m->facts;
        bool several = q->n > 1, vhost = wants_vhost(m->value);
        _cleanup_free_ char *value = without_opening(m), *fds = NULL, *vhostfds = NULL;

        for (size_t i = 0; i < q->n; i++) {
                int at = m->plan->first_queue_fd + (int)facts->n_queues;

                facts->queues[facts->n_queues++] =
                        (struct nic_queue){.source_fd = q->fds[i],
                                           .fd_number = at,
                                           .true_number = at + NIC_QUEUES_MAX,
                                           .vhost_number = vhost ? at + 2 * NIC_QUEUES_MAX : -1};
                fds = add_number(fds, at);
                if (vhost)
                        vhostfds = add_number(vhostfds, at + 2 * NIC_QUEUES_MAX);
        }
        set(&value, several ? "fds" : "fd", fds);
        if (vhost)
                set(&value, several ? "vhostfds" : "vhostfd", vhostfds);
        making_add(m, m->option, value);
}

/* Its name stays in no command line, so what QEMU would have run at the VM's end is not run any more. */
static void warn_of_script(struct making *m)
{
        _cleanup_free_ char *script = optstr_get(m->value, "downscript");

        if (has(m->value, "fd") || has(m->value, "fds") || has(m->value, "helper") ||
            (script && (STREQ(script, "no") || STREQ(script, ""))))
                return;
        making_warn(m, "its downscript will not run when the VM ends",
                    "start the VM with downscript=no, and let whoever starts it take down its network");
}

static void take_tap(struct making *m, bool is_bridge)
{
        struct queues q = find_queues(m);

        if (q.n == 0)
                return making_refuse(
                        m,
                        "the source's open TAP device that belongs to it cannot be told (a macvtap is "
                        "not handed on, nor an fd that was passed by QMP)",
                        "name the interface (ifname=), or pass it open (fd=, fds=)");
        if (m->facts->n_queues + q.n > NIC_QUEUES_MAX)
                return making_refuse(m, "cprd hands on 32 queues of a VM at most",
                                     "start the VM with fewer queues");
        if (!is_bridge)
                warn_of_script(m);
        hand_on(m, &q);
}

static void take_user(struct making *m)
{
        if (has(m->value, "hostfwd") || has(m->value, "guestfwd"))
                return making_refuse(m, "two QEMUs cannot forward one port",
                                     "start the VM without hostfwd and guestfwd");
        making_warn(m, "the guest's TCP connections through it will be cut",
                    "use a network that is not inside of QEMU, if they matter");
        making_keep(m);
}

/* -net makes a hub with it, and names no end of it. */
void take_netdev(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "type");
        bool is_bridge = type && STREQ(type, "bridge");

        if (type && (STREQ(type, "none") || STREQ(type, "hubport") || STREQ(type, "nic")))
                return making_keep(m);
        if (type && STREQ(type, "user"))
                return take_user(m);
        if (type && (is_bridge || STREQ(type, "tap")) && !STREQ(m->option, "-net"))
                return take_tap(m, is_bridge);
        making_refuse(m, "its host side cannot be opened by two QEMUs at once, and is not handed on by cprd",
                      "give the VM its network by a TAP device (-netdev tap), which is handed on");
}
