/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

#define DEPTH_MAX 64 /* of a backing chain */

/* Both sides of the block layer. */
struct graph {
        json_object *nodes; /* array of query-named-block-nodes */
        json_object *graph; /* of x-debug-query-block-graph */
};

struct blocks {
        struct match *m;
        struct graph source, destination;
};

static const char remedy[] =
        "bring the disk back to the image on the command line (commit, pivot), or restart the VM "
        "with the image that it has now";

static json_object *find_by(json_object *array, const char *key, const char *value)
{
        for (size_t i = 0; array && i < json_object_array_length(array); i++) {
                json_object *o = json_object_array_get_idx(array, i);

                if (STREQ(json_str(o, key) ?: "", value))
                        return o;
        }
        return NULL;
}

static const char *text_of(json_object *o, const char *key)
{
        json_object *value = NULL;

        json_object_object_get_ex(o, key, &value);
        if (json_object_is_type(value, json_type_string))
                return json_object_get_string(value);
        return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* ---- nodes ---- */

/* One that QEMU named itself, differently in each process. */
static bool is_unnamed(const char *name)
{
        return name[0] == '#';
}

static void describe(const struct graph *g, const char *name, char *text, size_t size)
{
        json_object *node = find_by(g->nodes, "node-name", name);

        snprintf(text, size, "%.80s (%.40s, %.160s)", is_unnamed(name) ? "a node without a name" : name,
                 json_str(node, "drv") ?: "?", json_str(node, "file") ?: "?");
}

/* File names are plain text, or the options as JSON in any order. */
static bool same_file(json_object *a, json_object *b)
{
        static const char json[] = "json:";
        const char *x = json_str(a, "file") ?: "", *y = json_str(b, "file") ?: "";
        _cleanup_json_ json_object *i = NULL, *k = NULL;

        if (STREQ(x, y))
                return true;
        if (strncmp(x, json, strlen(json)) != 0 || strncmp(y, json, strlen(json)) != 0)
                return false;
        i = json_tokener_parse(x + strlen(json));
        k = json_tokener_parse(y + strlen(json));
        return i && k && json_object_equal(i, k);
}

/* Returns true if there was a difference. */
static bool compare_node(struct blocks *b, const char *drive, const char *x, const char *y)
{
        static const char *const members[] = {"ro", "encrypted", "detect_zeroes", "cache"};
        json_object *source = find_by(b->source.nodes, "node-name", x),
                    *destination = find_by(b->destination.nodes, "node-name", y);
        char here[320], there[320];

        describe(&b->source, x, here, sizeof(here));
        describe(&b->destination, y, there, sizeof(there));
        if (is_unnamed(x) != is_unnamed(y) || (!is_unnamed(x) && !STREQ(x, y)) ||
            !STREQ(text_of(source, "drv"), text_of(destination, "drv")) || !same_file(source, destination)) {
                match_differs(b->m, "disk", remedy, "%s is on %s in the source and on %s in the destination",
                              drive, here, there);
                return true;
        }
        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                if (!STREQ(text_of(source, members[i]), text_of(destination, members[i]))) {
                        match_differs(b->m, "disk", "restart the VM with it as it is now",
                                      "%s, %s: %s is %s in the source and %s in the destination", drive, here,
                                      members[i], text_of(source, members[i]),
                                      text_of(destination, members[i]));
                        return true;
                }
        return false;
}

/* ---- the graph ---- */

static int64_t number_of(const struct graph *g, const char *name)
{
        json_object *nodes = json_arr(g->graph, "nodes");

        for (size_t i = 0; nodes && i < json_object_array_length(nodes); i++) {
                json_object *o = json_object_array_get_idx(nodes, i);

                if (STREQ(json_str(o, "name") ?: "", name) &&
                    STREQ(json_str(o, "type") ?: "", "block-driver"))
                        return json_int(o, "id", -1);
        }
        return -1;
}

static const char *name_of(const struct graph *g, int64_t number)
{
        json_object *nodes = json_arr(g->graph, "nodes");

        for (size_t i = 0; nodes && i < json_object_array_length(nodes); i++) {
                json_object *o = json_object_array_get_idx(nodes, i);

                if (json_int(o, "id", -2) == number)
                        return json_str(o, "name") ?: "";
        }
        return "";
}

/* The name of a node's child, "" if it has none of that role. */
static const char *child_of(const struct graph *g, int64_t parent, const char *role)
{
        json_object *edges = json_arr(g->graph, "edges");

        for (size_t i = 0; edges && i < json_object_array_length(edges); i++) {
                json_object *o = json_object_array_get_idx(edges, i);

                if (json_int(o, "parent", -2) == parent && STREQ(json_str(o, "name") ?: "", role))
                        return name_of(g, json_int(o, "child", -1));
        }
        return "";
}

static bool compare_chain(struct blocks *b, const char *drive, const char *x, const char *y, unsigned depth);

static bool compare_child(struct blocks *b, const char *drive, const char *role, const char *x, const char *y,
                          unsigned depth)
{
        char here[320];
        bool extra = !*x;

        if (*x && *y)
                return compare_chain(b, drive, x, y, depth + 1);
        describe(extra ? &b->destination : &b->source, extra ? y : x, here, sizeof(here));
        match_differs(b->m, "disk", remedy, "%s has %s as its %s in the %s only", drive, here, role,
                      extra ? "destination" : "source");
        return true;
}

/* Every role in which either of them has a child. */
static bool compare_children(struct blocks *b, const char *drive, const struct graph *roles, int64_t parent,
                             int64_t x, int64_t y, unsigned depth)
{
        json_object *edges = json_arr(roles->graph, "edges");

        for (size_t i = 0; edges && i < json_object_array_length(edges); i++) {
                json_object *o = json_object_array_get_idx(edges, i);
                const char *role = json_str(o, "name") ?: "";

                if (json_int(o, "parent", -2) == parent &&
                    compare_child(b, drive, role, child_of(&b->source, x, role),
                                  child_of(&b->destination, y, role), depth))
                        return true;
        }
        return false;
}

static bool compare_chain(struct blocks *b, const char *drive, const char *x, const char *y, unsigned depth)
{
        int64_t i = number_of(&b->source, x), k = number_of(&b->destination, y);

        if (depth > DEPTH_MAX)
                return false;
        return compare_node(b, drive, x, y) || compare_children(b, drive, &b->source, i, i, k, depth) ||
               compare_children(b, drive, &b->destination, k, i, k, depth);
}

/* ---- drives ---- */

static const char *drive_name(json_object *drive)
{
        const char *qdev = json_str(drive, "qdev");

        return qdev && *qdev ? qdev : json_str(drive, "device") ?: "";
}

static json_object *find_drive(json_object *drives, const char *name)
{
        for (size_t i = 0; i < json_object_array_length(drives); i++)
                if (STREQ(drive_name(json_object_array_get_idx(drives, i)), name))
                        return json_object_array_get_idx(drives, i);
        return NULL;
}

static void compare_throttling(struct blocks *b, const char *drive, json_object *source,
                               json_object *destination)
{
        json_object_object_foreach (source, name, value) {
                if ((strncmp(name, "bps", 3) == 0 || strncmp(name, "iops", 4) == 0 || STREQ(name, "group")) &&
                    value && !STREQ(text_of(source, name), text_of(destination, name)))
                        match_differs(b->m, "throttling",
                                      "set it back (block_set_io_throttle), or restart the VM",
                                      "%s: %s is %s in the source and %s in the destination", drive, name,
                                      text_of(source, name), text_of(destination, name));
        }
}

static void compare_drive(struct blocks *b, const char *drive, json_object *source, json_object *destination)
{
        json_object *x = json_obj(source, "inserted"), *y = json_obj(destination, "inserted");
        const struct graph *g = x ? &b->source : &b->destination;
        char medium[320];

        if (!x && !y)
                return;
        if (!x || !y) {
                describe(g, json_str(x ?: y, "node-name") ?: "", medium, sizeof(medium));
                match_differs(b->m, "medium",
                              "bring it back to what it was at the start, or restart the VM with it",
                              "%s has a medium in the %s only: %s", drive, x ? "source" : "destination",
                              medium);
                return;
        }
        if (!compare_chain(b, drive, json_str(x, "node-name") ?: "", json_str(y, "node-name") ?: "", 0))
                compare_throttling(b, drive, x, y);
}

/* "vb0" out of "/machine/peripheral/vb0/virtio-backend". */
static void short_name(const char *name, char text[128])
{
        static const char peripheral[] = "/machine/peripheral/";
        bool is_path = strncmp(name, peripheral, strlen(peripheral)) == 0;

        name += is_path ? strlen(peripheral) : 0;
        snprintf(text, 128, "%.*s", (int)strcspn(name, is_path ? "/" : ""), name);
}

static void compare_drives(struct blocks *b, json_object *source, json_object *destination)
{
        for (size_t i = 0; i < json_object_array_length(source); i++) {
                json_object *drive = json_object_array_get_idx(source, i);
                const char *name = drive_name(drive);
                json_object *other = find_drive(destination, name);
                char text[128];

                short_name(name, text);
                if (other)
                        compare_drive(b, text, drive, other);
                else
                        match_differs(b->m, "disk", "unplug it again, or restart the VM with it",
                                      "%s is in the source only", text);
        }
}

/* Those that belong to no drive too: a management tool that made a node will look for it. */
static void compare_names(struct blocks *b, const struct graph *g, const struct graph *other,
                          const char *whose)
{
        for (size_t i = 0; i < json_object_array_length(g->nodes); i++) {
                const char *name = json_str(json_object_array_get_idx(g->nodes, i), "node-name") ?: "";
                char text[320];

                if (is_unnamed(name) || find_by(other->nodes, "node-name", name))
                        continue;
                describe(g, name, text, sizeof(text));
                match_differs(b->m, "disk", "remove it (blockdev-del), or restart the VM as it is now",
                              "node %s is in the %s only", text, whose);
        }
}

int match_block(struct match *m, struct failure *f)
{
        struct blocks b = {.m = m};
        json_object *x, *y;
        size_t differ = m->n_differences;

        match_work(m);
        if (!match_answers(m, MATCH_NODES, json_type_array, &b.source.nodes, &b.destination.nodes) ||
            !match_answers(m, MATCH_GRAPH, json_type_object, &b.source.graph, &b.destination.graph) ||
            !match_answers(m, MATCH_BLOCK, json_type_array, &x, &y))
                return 0;
        compare_drives(&b, x, y);
        if (m->n_differences > differ)
                return 0; /* a chain that differs has nodes that differ */
        compare_names(&b, &b.source, &b.destination, "source");
        compare_names(&b, &b.destination, &b.source, "destination");
        return 0;
}
