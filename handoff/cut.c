/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/cut.h"

#include "handoff/connection.h"
#include "handoff/wait.h"

struct list {
        char text[256];
        size_t n;
};

static void add(struct list *l, const char *what, const char *name)
{
        size_t used = strlen(l->text);

        l->n++;
        snprintf(l->text + used, sizeof(l->text) - used, "%s%s %s", used ? ", " : "", what, name);
}

static bool is_own(const struct handoff *h, const char *file)
{
        const char *path = strstr(file, h->order.qmp), *end = path ? path + strlen(h->order.qmp) : "";

        return *end == ',' || strncmp(end, ".cprd-", 6) == 0;
}

/* A listening socket's name begins with "disconnected:" unless a client is connected to it
 * (update_disconnected_filename() in QEMU's chardev/char-socket.c). The one that cprd itself uses is no loss.
 */
static void add_chardev(const struct handoff *h, struct list *l, json_object *chardev)
{
        const char *file = json_str(chardev, "filename") ?: "", *label = json_str(chardev, "label") ?: "?";

        if (strstr(file, ",server=on") && strncmp(file, "disconnected:", 13) != 0 && !is_own(h, file) &&
            !connection_is_kept(h, label))
                add(l, "the client of chardev", label);
}

/* -netdev user,…, -nic user,… and -net user,…, or -netdev as JSON. */
static bool is_user_network(const char *option, const char *value)
{
        const char *name = option + strspn(option, "-");

        if (!STREQ(name, "netdev") && !STREQ(name, "nic") && !STREQ(name, "net"))
                return false;
        return strncmp(value, "user", 4) == 0 || (value[0] == '{' && strstr(value, "\"user\""));
}

static void add_networks(const struct handoff *h, struct list *l)
{
        const struct cmdline *c = &h->source.cmdline;

        for (size_t i = 0; i + 1 < c->n; i++)
                if (is_user_network(c->argv[i], c->argv[i + 1]))
                        add(l, "the TCP flows of", c->argv[i + 1]);
}

void check_cut(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_json_ json_object *chardevs = NULL;
        struct failure f = {};
        struct list l = {};

        if (wait_qmp(h, h->source.qmp, "query-chardev", NULL, &chardevs, &f) < 0) {
                if (f.error != ECANCELED) /* which says nothing of the VM */
                        finding_warn(fs, id, "make sure that QEMU answers query-chardev", "%s", f.what);
                return;
        }
        for (size_t i = 0;
             json_object_is_type(chardevs, json_type_array) && i < json_object_array_length(chardevs); i++)
                add_chardev(h, &l, json_object_array_get_idx(chardevs, i));
        add_networks(h, &l);
        if (l.n)
                finding_warn(fs, id, "have them connect again after the handoff", "a handoff cuts: %s",
                             l.text);
        else
                finding_pass(fs, id, "no client of the VM's sockets or of user networking would be cut");
}
