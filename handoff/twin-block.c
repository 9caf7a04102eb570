/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/optstr.h"
#include "handoff/twin.h"

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

json_object *twin_find_node(struct twin *t, const char *name)
{
        return find(array_of(t, TWIN_NODES), "node-name", name);
}

bool twin_for_each_child(struct twin *t, const char *name,
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

        return twin_is_unnamed(child) || strchr(role, '.') || (given && STREQ(given, child)) ||
               (described && STREQ(described, child));
}

bool twin_is_described(struct twin *t, const char *name)
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

bool twin_is_unchanged(struct twin *t, const char *name, const char *given)
{
        _cleanup_free_ char *backing = optstr_get(given, "backing");

        if (!twin_find_node(t, name) || !twin_for_each_child(t, name, is_as_given, (void *)given))
                return false;
        return !backing || !*backing || !twin_for_each_child(t, name, has_backing, NULL);
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

        return STREQ(root, name) || (depth < TWIN_DEPTH_MAX && !twin_for_each_child(t, root, is_below, &s));
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
                if (!twin_is_unchanged(t, name, json_object_get_string(given)))
                        return true;
        }
        for (size_t i = 0; nodes && i < json_object_array_length(nodes); i++) {
                const char *live = json_str(json_object_array_get_idx(nodes, i), "node-name") ?: "#";

                if (!twin_is_unnamed(live) && !json_str(t->blockdevs, live) && !is_of_drive(t, live) &&
                    !twin_is_described(t, live))
                        return true;
        }
        return false;
}

/* ---- all of them ---- */

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

                if (twin_is_unnamed(name) || json_obj(done, name) ||
                    (!json_str(t->blockdevs, name) && is_of_drive(t, name)))
                        continue;
                o = twin_make_node(t, name, done, 0);
                if (!o)
                        return false;
                json_object_put(o);
        }
        return true;
}

/* Without nodes there is no graph to ask for. */
static bool is_known(struct twin *t)
{
        json_object *nodes = array_of(t, TWIN_NODES);

        return nodes && (json_object_array_length(nodes) == 0 || t->live[TWIN_GRAPH].reply);
}

void twin_add_blockdevs(struct twin *t, const struct cmdline *c)
{
        size_t n = t->out.n;

        if (!is_known(t) || !any_has_changed(t))
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

/* Returns false: it is left as it is. */
static bool refuse_medium(struct twin *t, const char *drive, json_object *inserted)
{
        twin_refuse(
                t, "disk",
                "bring it back to what the command line says, or restart the VM with it on its command line",
                "drive %s is on %s (%s) since after the start, and its aio, discard and locking cannot be "
                "read in the source's memory, or are not the drive's",
                drive, json_str(inserted, "file") ?: "?", json_str(inserted, "drv") ?: "?");
        return false;
}

bool twin_drive_of(struct twin *t, const char *id, const char *drive, char **ret)
{
        json_object *live = id ? find_drive(t, id, NULL) : NULL, *inserted = json_obj(live, "inserted");
        const char *name = json_str(inserted, "node-name");
        _cleanup_free_ char *made = NULL, *hidden = NULL, *option = NULL, *file = NULL;

        if (!live || t->blockdevs_kept ||
            !json_str(t->blockdevs, drive)) /* that of a -drive keeps its name */
                return false;
        if (inserted && name && !twin_is_unnamed(name)) {
                *ret = text_copy(name);
                return !STREQ(name, drive);
        }
        *ret = NULL;
        if (!inserted)
                return true;
        hidden = twin_drive_hidden(t, name ?: "#", json_flag(inserted, "ro"));
        if (!hidden)
                return refuse_medium(t, id, inserted);
        made = text_print("cprd-drive%zu", t->n_drives++);
        option = text_print("if=none,id=%s,format=%s,readonly=%s%s", made, json_str(inserted, "drv") ?: "raw",
                            json_flag(inserted, "ro") ? "on" : "off", hidden);
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
                if (!twin_is_unnamed(name)) {
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
        if (now && !twin_drive_makes(t, value, json_str(inserted, "node-name") ?: "#"))
                refuse_medium(t, id, inserted);
        changed = change_drive(value, inserted);
        twin_say(t, "drive %s has %s now: the destination gets that", id, now ?: "no medium");
        twin_add(t, "-drive", changed);
}
