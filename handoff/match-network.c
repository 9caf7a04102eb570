/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

static const char remedy[] = "restart the VM with it as it is now";

/* ---- network ---- */

/* The value of "NAME=…" in a line of `info network`, up to the comma; *ret is the caller's. */
static char *field(const char *line, const char *name)
{
        const char *at = strstr(line, name);

        at = at ? at + strlen(name) : "";
        return strndup(at, strcspn(at, ",\r\n"));
}

/*
 * HMP `info network`: a line for each end, and indented below it what it is connected to.
 *      n0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:11:22:33
 *       \ u0: index=0,type=user,net=10.0.2.0,restrict=off
 * Into {NAME: "TYPE MODEL, connected to NAME"}; the caller's. The MAC address can be the guest's choice; the
 * configured one is a property of the device. The rest of each line is fds and addresses of the host.
 */
static json_object *read_network(const char *text)
{
        _cleanup_free_ char *copy = strdup(text);
        json_object *ends = json_object_new_object();
        char *lines = NULL, above[128] = "nothing";

        if (!copy)
                abort();
        for (char *line = strtok_r(copy, "\r\n", &lines); line; line = strtok_r(NULL, "\r\n", &lines)) {
                _cleanup_free_ char *type = field(line, "type="), *model = field(line, "model=");
                bool below = strncmp(line, " \\ ", 3) == 0;
                char *name = below ? line + 3 : line, what[384];

                if (strncmp(line, "hub ", 4) == 0) /* one may be left without ports */
                        snprintf(above, sizeof(above), "%.120s", line);
                if (strncmp(line, "hub ", 4) == 0)
                        continue;
                name[strcspn(name, ":")] = '\0';
                snprintf(what, sizeof(what), "%.100s %.100s, connected to %s", type ?: "", model ?: "",
                         below ? above : "what is named below");
                json_add_str(ends, name, what);
                if (!below)
                        snprintf(above, sizeof(above), "%.120s", name);
        }
        return ends;
}

static void compare_network(struct match *m, json_object *source, json_object *destination)
{
        json_object_object_foreach (source, name, what) {
                const char *x = json_object_get_string(what), *y = json_str(destination, name);

                if (!y)
                        match_differs(m, "network", "remove it again (netdev_del), or restart the VM with it",
                                      "network end %s is in the source only", name);
                else if (!STREQ(x, y))
                        match_differs(m, "network", remedy,
                                      "network end %s is %s in the source and %s in the destination", name, x,
                                      y);
        }
        json_object_object_foreach (destination, extra, unused) {
                if (unused && !json_str(source, extra))
                        match_differs(m, "network", "restart the VM without it",
                                      "network end %s is in the destination only", extra);
        }
}

/* ---- chardevs ---- */

/* "unix", "file", "pty", …: the rest is a path, or an fd. */
static void chardev_kind(json_object *chardev, char kind[64])
{
        const char *text = json_str(chardev, "filename") ?: "";

        if (strncmp(text, "disconnected:", 13) == 0)
                text += 13;
        snprintf(kind, 64, "%.*s", (int)strcspn(text, ":,"), text);
}

static json_object *find_chardev(json_object *array, const char *label)
{
        for (size_t i = 0; i < json_object_array_length(array); i++)
                if (STREQ(json_str(json_object_array_get_idx(array, i), "label") ?: "", label))
                        return json_object_array_get_idx(array, i);
        return NULL;
}

static bool begins_with(const char *s, const char *prefix)
{
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Whether its name is one that QEMU, or cmdline.c, gave to a chardev without one (-qmp unix:…, -serial
 * file:…), and the other QEMU does not have it. */
static bool is_unnamed(const char *label, json_object *other)
{
        static const char *const automatic[] = {"compat_monitor", "serial", "parallel", "debugcon",
                                                "cprd-chr"};

        for (size_t i = 0; i < ELEMENTSOF(automatic); i++)
                if (begins_with(label, automatic[i]))
                        return !find_chardev(other, label);
        return false;
}

static size_t count_unnamed(json_object *array, json_object *other)
{
        size_t n = 0;

        for (size_t i = 0; i < json_object_array_length(array); i++)
                n += is_unnamed(json_str(json_object_array_get_idx(array, i), "label") ?: "", other);
        return n;
}

static void compare_kinds(struct match *m, const char *label, json_object *a, json_object *b)
{
        char x[64], y[64];

        chardev_kind(a, x);
        chardev_kind(b, y);
        if (!STREQ(x, y))
                match_differs(m, "chardev", remedy,
                              "chardev %s is %s in the source and %s in the destination", label, x, y);
}

/* Reports those of @a that @b does not have. @unnamed: as many of the others' names have no counterpart
 * either. */
static void compare_labels(struct match *m, json_object *a, json_object *b, bool unnamed, const char *whose)
{
        for (size_t i = 0; i < json_object_array_length(a); i++) {
                const char *label = json_str(json_object_array_get_idx(a, i), "label") ?: "";

                if (!find_chardev(b, label) && !(unnamed && is_unnamed(label, b)))
                        match_differs(m, "chardev",
                                      "remove it again (chardev-remove), or restart the VM as it is now",
                                      "chardev %s is in the %s only", label, whose);
        }
}

static void compare_chardevs(struct match *m, json_object *a, json_object *b)
{
        bool unnamed = count_unnamed(a, b) == count_unnamed(b, a);

        for (size_t i = 0; i < json_object_array_length(a); i++) {
                json_object *x = json_object_array_get_idx(a, i);
                const char *label = json_str(x, "label") ?: "";

                if (find_chardev(b, label))
                        compare_kinds(m, label, x, find_chardev(b, label));
        }
        compare_labels(m, a, b, unnamed, "source");
        compare_labels(m, b, a, unnamed, "destination");
}

int match_network(struct match *m, struct failure *f)
{
        _cleanup_json_ json_object *source = NULL, *destination = NULL;
        json_object *a, *b;

        if (match_answers(m, MATCH_NETWORK, json_type_string, &a, &b)) {
                source = read_network(json_object_get_string(a));
                destination = read_network(json_object_get_string(b));
                compare_network(m, source, destination);
        }
        if (match_answers(m, MATCH_CHARDEVS, json_type_array, &a, &b))
                compare_chardevs(m, a, b);
        return 0;
}
