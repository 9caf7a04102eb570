/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/optstr.h"
#include "handoff/twin.h"

#define DEPTH_MAX 64

/* ---- what is there ---- */

static json_object *array_of(struct twin *t, int question)
{
        json_object *o = t->live[question].reply;

        return json_object_is_type(o, json_type_array) ? o : NULL;
}

static json_object *find(json_object *list, const char *key, const char *value)
{
        for (size_t i = 0; list && i < json_object_array_length(list); i++)
                if (STREQ(json_str(json_object_array_get_idx(list, i), key) ?: "", value))
                        return json_object_array_get_idx(list, i);
        return NULL;
}

static json_object *find_node(struct twin *t, const char *name)
{
        return find(array_of(t, TWIN_NODES), "node-name", name);
}

static bool is_unnamed(const char *name)
{
        return name[0] == '#';
}

/* Calls @visit for each child of a node, with its role; ends when that returns false. */
static bool for_each_child(struct twin *t, const char *name,
                           bool (*visit)(struct twin *t, const char *role, const char *child, void *userdata),
                           void *userdata)
{
        json_object *graph = t->live[TWIN_GRAPH].reply, *nodes = json_arr(graph, "nodes"),
                    *edges = json_arr(graph, "edges"), *node = find(nodes, "name", name);
        int64_t number = json_int(node, "id", -1);

        for (size_t i = 0; node && edges && i < json_object_array_length(edges); i++) {
                json_object *edge = json_object_array_get_idx(edges, i);
                const char *child = NULL;

                if (json_int(edge, "parent", -2) != number)
                        continue;
                for (size_t k = 0; k < json_object_array_length(nodes); k++) {
                        json_object *o = json_object_array_get_idx(nodes, k);

                        if (json_int(o, "id", -3) == json_int(edge, "child", -4))
                                child = json_str(o, "name");
                }
                if (!child || !visit(t, json_str(edge, "name") ?: "", child, userdata))
                        return false;
        }
        return true;
}

/* ---- -blockdev on the command line ---- */

void twin_read_blockdevs(struct twin *t, const struct cmdline *c)
{
        for (size_t i = 1; i + 1 < c->n; i++) {
                _cleanup_free_ char *name = NULL;

                if (!STREQ(c->argv[i], "-blockdev") && !STREQ(c->argv[i], "--blockdev"))
                        continue;
                name = optstr_get(c->argv[++i], "node-name");
                if (name)
                        json_add_str(t->blockdevs, name, c->argv[i]);
        }
}

/* Whether a child is the one that the command line names, alone or in the place where it describes it.
 * Unnamed ones and lists of children are not looked into: the comparison sees them. */
static bool is_as_given(struct twin *t, const char *role, const char *child, void *userdata)
{
        _cleanup_free_ char *within = text_print("%s.node-name", role), *given = optstr_get(userdata, role),
                            *described = optstr_get(userdata, within);

        return is_unnamed(child) || strchr(role, '.') || (given && STREQ(given, child)) ||
               (described && STREQ(described, child));
}

/* Whether a -blockdev describes it within another node. */
static bool is_described(struct twin *t, const char *name)
{
        json_object_object_foreach (t->blockdevs, top, given) {
                if (!STREQ(top, name) && strstr(json_object_get_string(given), name))
                        return !json_str(t->blockdevs, name);
        }
        return false;
}

static bool has_backing(struct twin *t, const char *role, const char *child, void *userdata)
{
        return !STREQ(role, "backing");
}

static bool is_unchanged(struct twin *t, const char *name, const char *given)
{
        _cleanup_free_ char *backing = optstr_get(given, "backing");

        if (!find_node(t, name) || !for_each_child(t, name, is_as_given, (void *)given))
                return false;
        return !backing || !*backing || !for_each_child(t, name, has_backing, NULL);
}

/* The nodes of a -drive: it makes them itself. */
static bool is_below(struct twin *t, const char *role, const char *child, void *userdata);

struct search {
        const char *name;
        unsigned depth;
};

static bool is_in_tree(struct twin *t, const char *root, const char *name, unsigned depth)
{
        struct search s = {name, depth + 1};

        return STREQ(root, name) || (depth < DEPTH_MAX && !for_each_child(t, root, is_below, &s));
}

/* Returns false, which ends the search, once it is found. */
static bool is_below(struct twin *t, const char *role, const char *child, void *userdata)
{
        const struct search *s = userdata;

        return !is_in_tree(t, child, s->name, s->depth);
}

static bool is_of_drive(struct twin *t, const char *name)
{
        json_object *drives = array_of(t, TWIN_BLOCK);

        for (size_t i = 0; drives && i < json_object_array_length(drives); i++) {
                json_object *o = json_object_array_get_idx(drives, i);
                const char *device = json_str(o, "device"),
                           *root = json_str(json_obj(o, "inserted"), "node-name");

                if (device && *device && root && is_in_tree(t, root, name, 0))
                        return true;
        }
        return false;
}

static bool any_has_changed(struct twin *t)
{
        json_object *nodes = array_of(t, TWIN_NODES);

        json_object_object_foreach (t->blockdevs, name, given) {
                if (!is_unchanged(t, name, json_object_get_string(given)))
                        return true;
        }
        for (size_t i = 0; nodes && i < json_object_array_length(nodes); i++) {
                const char *live = json_str(json_object_array_get_idx(nodes, i), "node-name") ?: "#";

                if (!is_unnamed(live) && !json_str(t->blockdevs, live) && !is_of_drive(t, live) &&
                    !is_described(t, live))
                        return true;
        }
        return false;
}

/* ---- a node as the source has it ---- */

/* What QEMU does not tell about a node: taken from one of the same driver on the command line. */
static void inherit(struct twin *t, json_object *options, const char *driver)
{
        static const char *const silent[] = {"aio", "discard", "locking", "auto-read-only"};

        json_object_object_foreach (t->blockdevs, name, given) {
                const char *text = json_object_get_string(given);
                _cleanup_json_ json_object *o = text[0] == '{' ? json_tokener_parse(text) : NULL;

                if (!name || !STREQ(json_str(o, "driver") ?: "", driver))
                        continue;
                for (size_t i = 0; i < ELEMENTSOF(silent); i++) {
                        json_object *value;

                        if (json_object_object_get_ex(o, silent[i], &value))
                                json_add(options, silent[i], json_object_get(value));
                }
                return;
        }
}

static bool describe(struct twin *t, json_object *node, json_object *options)
{
        static const char *const leaves[] = {"file", "host_device", "host_cdrom"};
        const char *driver = json_str(node, "drv") ?: "", *file = json_str(node, "file") ?: "";
        json_object *cache = json_obj(node, "cache"), *o = json_object_new_object();
        bool is_leaf = false;

        for (size_t i = 0; i < ELEMENTSOF(leaves); i++)
                is_leaf = is_leaf || STREQ(driver, leaves[i]);
        json_add_str(options, "driver", driver);
        json_add_str(options, "detect-zeroes", json_str(node, "detect_zeroes"));
        json_add_bool(o, "direct", json_flag(cache, "direct"));
        json_add_bool(o, "no-flush", json_flag(cache, "no-flush"));
        json_add(options, "cache", o);
        inherit(t, options, driver);
        if (is_leaf)
                json_add_str(options, "filename", file);
        return !json_flag(node, "encrypted") &&
               (is_leaf ? file[0] == '/' : STREQ(driver, "raw") || STREQ(driver, "qcow2"));
}

struct making {
        json_object *options;
        json_object *done; /* set of the names that are on the command line so far */
        unsigned depth;
        bool has_backing;
};

static json_object *make_node(struct twin *t, const char *name, json_object *done, unsigned depth);

/* Named ones stand for themselves; others are described where they are used. */
static bool make_child(struct twin *t, const char *role, const char *child, void *userdata)
{
        struct making *m = userdata;
        json_object *o = make_node(t, child, m->done, m->depth + 1);

        if (!o)
                return false;
        m->has_backing = m->has_backing || STREQ(role, "backing");
        if (is_unnamed(child) && !strchr(role, '.')) {
                json_add(m->options, role, o);
                return true;
        }
        json_object_put(o);
        if (!strchr(role, '.'))
                json_add_str(m->options, role, child);
        return !is_described(t, child);
}

static void finish_node(struct twin *t, const char *name, const struct making *m)
{
        const char *driver = json_str(m->options, "driver");

        if (!m->has_backing && driver && STREQ(driver, "qcow2")) {
                json_object_object_del(m->options, "backing");
                json_object_object_add(m->options, "backing", NULL); /* whatever its header says */
        }
        if (is_unnamed(name))
                return;
        json_add_str(m->options, "node-name", name);
        if (json_obj(m->done, name))
                return;
        json_add(m->done, name, json_object_new_object());
        twin_add(t, "-blockdev",
                 json_object_to_json_string_ext(m->options,
                                                JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* What the command line says without JSON can be kept as it is, or not at all. */
static bool make_kept(struct twin *t, const char *name, const char *given, const struct making *m)
{
        if (!is_unchanged(t, name, given))
                return false;
        if (!json_obj(m->done, name)) {
                json_add(m->done, name, json_object_new_object());
                twin_add(t, "-blockdev", given);
        }
        return true;
}

static void warn_of_new(struct twin *t, const char *name, json_object *node)
{
        twin_warn(
                t, "start the VM with it on its command line, if it matters",
                "node %s (%s, %s) was added since the start: it goes along, but QEMU does not tell its aio, discard "
                "and locking; those of the command line's are taken",
                name, json_str(node, "drv"), json_str(node, "file"));
}

/* The options of a node, from the command line or else as QEMU reports them, with its present children; adds
 * it, after its children. NULL: they cannot be known. */
static json_object *make_node(struct twin *t, const char *name, json_object *done, unsigned depth)
{
        const char *given = json_str(t->blockdevs, name);
        bool is_json = given && given[0] == '{';
        json_object *node = find_node(t, name);
        struct making m = {.done = done, .depth = depth};
        bool made;

        if (!node || depth > DEPTH_MAX)
                return NULL;
        m.options = is_json ? json_tokener_parse(given) : json_object_new_object();
        json_add_bool(m.options, "read-only", json_flag(node, "ro")); /* a base is, an overlay is not */
        made = (given || describe(t, node, m.options)) && for_each_child(t, name, make_child, &m);
        if (made && given && !is_json)
                made = make_kept(t, name, given, &m);
        if (!made) {
                json_object_put(m.options);
                return NULL;
        }
        if (!given && !is_unnamed(name) && !json_obj(done, name))
                warn_of_new(t, name, node);
        if (!given || is_json)
                finish_node(t, name, &m);
        return m.options;
}

static void add_as_given(struct twin *t, const struct cmdline *c)
{
        for (size_t i = 1; i + 1 < c->n; i++)
                if (STREQ(c->argv[i], "-blockdev") || STREQ(c->argv[i], "--blockdev")) {
                        twin_add(t, "-blockdev", c->argv[i + 1]);
                        i++;
                }
}

static bool add_all(struct twin *t)
{
        _cleanup_json_ json_object *done = json_object_new_object();
        json_object *nodes = array_of(t, TWIN_NODES);

        for (size_t i = 0; nodes && i < json_object_array_length(nodes); i++) {
                const char *name = json_str(json_object_array_get_idx(nodes, i), "node-name") ?: "#";
                json_object *o;

                if (is_unnamed(name) || json_obj(done, name) ||
                    (!json_str(t->blockdevs, name) && is_of_drive(t, name)))
                        continue;
                o = make_node(t, name, done, 0);
                if (!o)
                        return false;
                json_object_put(o);
        }
        return true;
}

void twin_add_blockdevs(struct twin *t, const struct cmdline *c)
{
        size_t n = t->out.n;

        if (!array_of(t, TWIN_NODES) || !any_has_changed(t))
                return add_as_given(t, c);
        if (add_all(t))
                return twin_say(
                        t,
                        "block nodes have changed since the start: the destination opens the present ones");
        while (t->out.n > n)
                free(t->out.argv[--t->out.n]);
        t->out.argv[n] = NULL;
        t->blockdevs_kept = true;
        add_as_given(t, c); /* match.h will name what differs */
}

/* ---- drives ---- */

static json_object *find_drive(struct twin *t, const char *id, const char *drive)
{
        json_object *drives = array_of(t, TWIN_BLOCK);
        _cleanup_free_ char *path = text_print("/machine/peripheral/%s/", id ?: "");

        for (size_t i = 0; drives && i < json_object_array_length(drives); i++) {
                json_object *o = json_object_array_get_idx(drives, i);
                const char *qdev = json_str(o, "qdev") ?: "";

                if ((id && (STREQ(qdev, id) || strncmp(qdev, path, strlen(path)) == 0)) ||
                    (drive && STREQ(json_str(o, "device") ?: "", drive)))
                        return o;
        }
        return NULL;
}

bool twin_drive_of(struct twin *t, const char *id, const char *drive, char **ret)
{
        json_object *live = id ? find_drive(t, id, NULL) : NULL, *inserted = json_obj(live, "inserted");
        const char *name = json_str(inserted, "node-name");
        _cleanup_free_ char *made = NULL, *option = NULL, *file = NULL;

        if (!live || t->blockdevs_kept ||
            !json_str(t->blockdevs, drive)) /* that of a -drive keeps its name */
                return false;
        if (inserted && name && !is_unnamed(name)) {
                *ret = text_copy(name);
                return !STREQ(name, drive);
        }
        *ret = NULL;
        if (!inserted)
                return true;
        made = text_print("cprd-drive%zu", t->n_drives++);
        option = text_print("if=none,id=%s,format=%s,readonly=%s", made, json_str(inserted, "drv") ?: "raw",
                            json_flag(inserted, "ro") ? "on" : "off");
        file = optstr_with(option, "file", json_str(inserted, "file") ?: "");
        twin_add(t, "-drive", file);
        *ret = TAKE_PTR(made);
        return true;
}

/* Its medium, image and format become the present ones. */
static char *change_drive(const char *value, json_object *inserted)
{
        static const char *const of_medium[] = {"file",     "format",    "driver",
                                                "readonly", "read-only", "snapshot"};
        char *changed = text_copy(value);
        const char *name = json_str(inserted, "node-name") ?: "#";

        for (size_t i = 0; i < ELEMENTSOF(of_medium); i++) {
                char *next = optstr_without(changed, of_medium[i]);

                free(changed);
                changed = next;
        }
        if (inserted) {
                _cleanup_free_ char *with_file =
                        optstr_with(changed, "file", json_str(inserted, "file") ?: "");
                _cleanup_free_ char *with_format =
                        optstr_with(with_file, "format", json_str(inserted, "drv") ?: "");

                free(changed);
                changed = optstr_with(with_format, "readonly", json_flag(inserted, "ro") ? "on" : "off");
                if (!is_unnamed(name)) {
                        _cleanup_free_ char *unnamed = changed;

                        changed = optstr_with(unnamed, "node-name", name);
                }
        }
        return changed;
}

void twin_take_drive(struct twin *t, const char *value)
{
        _cleanup_free_ char *id = optstr_get(value, "id"), *interface = optstr_get(value, "if"),
                            *file = optstr_get(value, "file"), *format = optstr_get(value, "format"),
                            *changed = NULL;
        json_object *live = id ? find_drive(t, NULL, id) : NULL, *inserted = json_obj(live, "inserted");
        const char *now = json_str(inserted, "file"), *driver = json_str(inserted, "drv") ?: "raw";

        if (!id || !interface || !STREQ(interface, "none") || !array_of(t, TWIN_BLOCK) || value[0] == '{')
                return twin_add(t, "-drive", value);
        if (!live)
                return twin_say(t, "drive %s was removed since the start: the destination does not get it",
                                id);
        /* As it was; or changed in a way that name and format do not show. */
        if ((now && file && STREQ(now, file) && (!format || STREQ(format, driver))) || (!now && !file) ||
            (now && now[0] != '/') || (!file && strstr(value, "file.")) ||
            (!STREQ(driver, "raw") && !STREQ(driver, "qcow2")))
                return twin_add(t, "-drive", value);
        changed = change_drive(value, inserted);
        twin_say(t, "drive %s has %s now: the destination gets that", id, now ?: "no medium");
        twin_add(t, "-drive", changed);
}
