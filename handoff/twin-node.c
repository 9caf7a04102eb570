/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/optstr.h"
#include "handoff/qdict.h"
#include "handoff/twin.h"

/* ---- what the source was told of a node, and QMP does not tell ---- */

/* Of a node QEMU keeps what it was told, and all of its options, which always have this one. */
static const char in_all[] = "auto-read-only";

static json_object *told(struct twin *t)
{
        if (!t->told && qdict_read(&t->h->source.process, &t->told) < 0)
                t->told = mem_check(json_object_new_array());
        return t->told;
}

static bool is_of(json_object *o, json_object *node)
{
        const char *name = json_str(node, "node-name") ?: "#", *given = json_str(o, "node-name"),
                   *file = json_str(o, "filename");

        if (!STREQ(json_str(o, "driver") ?: "", json_str(node, "drv") ?: ""))
                return false;
        if (!twin_is_unnamed(name))
                return given && STREQ(given, name);
        return !given && (!file || STREQ(file, json_str(node, "file") ?: ""));
}

static bool is_known_otherwise(const char *key)
{
        static const char *const keys[] = {"driver",    "node-name",    "filename",       "backing",
                                           "read-only", "cache.direct", "cache.no-flush", "detect-zeroes"};

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                if (STREQ(key, keys[i]))
                        return true;
        return false;
}

/* The caller's. */
static json_object *what_qmp_hides(json_object *o)
{
        json_object *hidden = json_object_new_object();

        json_object_object_foreach (o, key, value) {
                const char *text =
                        json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";

                if (is_known_otherwise(key))
                        continue;
                if (STREQ(text, "on") || STREQ(text, "off"))
                        if (STREQ(key, in_all)) {
                                json_add_bool(hidden, key, STREQ(text, "on"));
                                continue;
                        }
                json_object_object_add(hidden, key, json_object_get(value));
        }
        return hidden;
}

/* The caller's; NULL: it has not been found, or there are several that differ. */
static json_object *find_told(struct twin *t, json_object *node)
{
        json_object *list = told(t), *found = NULL;

        for (size_t i = 0; node && i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);
                _cleanup_json_ json_object *hidden = NULL;

                if (!is_of(o, node) || !json_object_object_get_ex(o, in_all, NULL))
                        continue;
                hidden = what_qmp_hides(o);
                if (found && !json_object_equal(found, hidden)) {
                        json_object_put(found);
                        return NULL;
                }
                if (!found)
                        found = TAKE_PTR(hidden);
        }
        return found;
}

enum origin { UNKNOWN, ADDED, DERIVED };

/* blockdev-add says all of a node. A snapshot or a mirror's target, made by name of a file, has flags of the
 * node that it was made of, which are nowhere to be read. */
static enum origin origin_of(struct twin *t, json_object *node)
{
        json_object *list = told(t);
        size_t n = 0;

        if (twin_is_unnamed(json_str(node, "node-name") ?: "#"))
                return DERIVED;
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                json_object *o = json_object_array_get_idx(list, i);

                if (!is_of(o, node))
                        continue;
                n++;
                if (!json_object_object_get_ex(o, "read-only", NULL))
                        return DERIVED;
        }
        return n >= 2 ? ADDED : UNKNOWN;
}

static bool find_backing(struct twin *t, const char *role, const char *child, void *userdata)
{
        const char **name = userdata;

        if (STREQ(role, "backing"))
                *name = child;
        return true;
}

static bool is_unmap(const char *discard)
{
        return discard && (STREQ(discard, "unmap") || STREQ(discard, "on"));
}

/* *ret: whether the node passes discards on. False: that cannot be known. */
static bool discards(struct twin *t, const char *name, unsigned depth, bool *ret)
{
        const char *given = json_str(t->blockdevs, name), *backing = NULL;
        json_object *node = twin_find_node(t, name);
        _cleanup_json_ json_object *hidden = given ? NULL : find_told(t, node);
        _cleanup_free_ char *on_command_line = given ? optstr_get(given, "discard") : NULL;

        *ret = is_unmap(given ? on_command_line : json_str(hidden, "discard"));
        if (given)
                return true;
        if (!hidden || depth > TWIN_DEPTH_MAX || origin_of(t, node) == UNKNOWN)
                return false;
        if (json_str(hidden, "discard") || origin_of(t, node) == ADDED)
                return true;
        twin_for_each_child(t, name, find_backing, &backing);
        return backing && discards(t, backing, depth + 1, ret);
}

/* Adds it to @options. NULL, or why it cannot be. */
static const char *add_hidden(struct twin *t, const char *name, json_object *options)
{
        _cleanup_json_ json_object *hidden = find_told(t, twin_find_node(t, name));
        bool unmap;

        if (!hidden || !discards(t, name, 0, &unmap))
                return "its aio, discard and locking cannot be read in the source's memory";
        json_object_object_foreach (hidden, key, value) {
                if (!value || strchr(key, '.'))
                        return "it has options that cprd does not know";
                json_add(options, key, json_object_get(value));
        }
        if (unmap)
                json_add_str(options, "discard", "unmap");
        return NULL;
}

/* ---- a node as the source has it ---- */

static const char *describe(struct twin *t, json_object *node, json_object *options)
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
        if (is_leaf)
                json_add_str(options, "filename", file);
        if (json_flag(node, "encrypted"))
                return "QEMU does not tell how it is encrypted";
        if (is_leaf ? file[0] != '/' : !STREQ(driver, "raw") && !STREQ(driver, "qcow2"))
                return "cprd does not know this driver's options";
        return add_hidden(t, json_str(node, "node-name") ?: "#", options);
}

struct making {
        json_object *options;
        json_object *done; /* set of the names that are on the command line by now */
        unsigned depth;
        bool has_backing;
};

/* Named ones stand for themselves; others are described where they are used. */
static bool make_child(struct twin *t, const char *role, const char *child, void *userdata)
{
        struct making *m = userdata;
        json_object *o = twin_make_node(t, child, m->done, m->depth + 1);

        if (!o)
                return false;
        m->has_backing = m->has_backing || STREQ(role, "backing");
        if (twin_is_unnamed(child) && !strchr(role, '.')) {
                json_add(m->options, role, o);
                return true;
        }
        json_object_put(o);
        if (!strchr(role, '.'))
                json_add_str(m->options, role, child);
        return !twin_is_described(t, child);
}

static void finish_node(struct twin *t, const char *name, const struct making *m)
{
        const char *driver = json_str(m->options, "driver");

        if (!m->has_backing && driver && STREQ(driver, "qcow2")) {
                json_object_object_del(m->options, "backing");
                json_object_object_add(m->options, "backing", NULL); /* whatever its header says */
        }
        if (twin_is_unnamed(name))
                return;
        json_add_str(m->options, "node-name", name);
        if (json_obj(m->done, name))
                return;
        json_add(m->done, name, json_object_new_object());
        twin_add(t, "-blockdev",
                 json_object_to_json_string_ext(m->options,
                                                JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* What the command line says without JSON can be kept, or not. */
static bool make_kept(struct twin *t, const char *name, const char *given, const struct making *m)
{
        if (!twin_is_unchanged(t, name, given))
                return false;
        if (!json_obj(m->done, name)) {
                json_add(m->done, name, json_object_new_object());
                twin_add(t, "-blockdev", given);
        }
        return true;
}

static bool describe_or_refuse(struct twin *t, const char *name, json_object *node, json_object *options)
{
        const char *why = describe(t, node, options);

        if (why)
                twin_refuse(
                        t, "disk",
                        "bring the disk back to what the command line says (commit, pivot), and remove the node "
                        "(blockdev-del); or restart the VM with it on its command line",
                        "%s (%s, %s) was added since the start, and %s",
                        twin_is_unnamed(name) ? "a node without a name" : name, json_str(node, "drv") ?: "?",
                        json_str(node, "file") ?: "?", why);
        return !why;
}

json_object *twin_make_node(struct twin *t, const char *name, json_object *done, unsigned depth)
{
        const char *given = json_str(t->blockdevs, name);
        bool is_json = given && given[0] == '{';
        json_object *node = twin_find_node(t, name);
        struct making m = {.done = done, .depth = depth};
        bool made;

        if (!node || depth > TWIN_DEPTH_MAX)
                return NULL;
        m.options = is_json ? json_tokener_parse(given) : json_object_new_object();
        json_add_bool(m.options, "read-only", json_flag(node, "ro")); /* a base is, an overlay is not */
        made = (given || describe_or_refuse(t, name, node, m.options)) &&
               twin_for_each_child(t, name, make_child, &m);
        if (made && given && !is_json)
                made = make_kept(t, name, given, &m);
        if (!made) {
                json_object_put(m.options);
                return NULL;
        }
        if (!given && !twin_is_unnamed(name) && !json_obj(done, name))
                twin_say(t, "node %s (%s, %s) was added since the start: the destination gets it", name,
                         json_str(node, "drv"), json_str(node, "file"));
        if (!given || is_json)
                finish_node(t, name, &m);
        return m.options;
}

/* ---- a node that a -drive makes ---- */

static bool find_file(struct twin *t, const char *role, const char *child, void *userdata)
{
        const char **name = userdata;

        if (STREQ(role, "file"))
                *name = child;
        return true;
}

static bool same_or_default(const char *a, const char *b, const char *otherwise)
{
        return STREQ(a ?: otherwise, b ?: otherwise);
}

static json_object *find_told_of_file(struct twin *t, const char *name)
{
        const char *file = NULL;

        twin_for_each_child(t, name, find_file, &file);
        return file ? find_told(t, twin_find_node(t, file)) : NULL;
}

/* A node that was derived from the drive's (a snapshot, a new medium) was opened as that was. */
bool twin_drive_makes(struct twin *t, const char *value, const char *name)
{
        _cleanup_free_ char *aio = optstr_get(value, "aio"), *discard = optstr_get(value, "discard");
        json_object *node = twin_find_node(t, name);
        _cleanup_json_ json_object *hidden = NULL, *of_file = find_told_of_file(t, name);

        if (!of_file || json_str(of_file, "locking"))
                return false;
        if (origin_of(t, node) == DERIVED)
                return !json_str(of_file, "aio");
        hidden = find_told(t, node);
        return hidden && same_or_default(aio, json_str(of_file, "aio"), "threads") &&
               is_unmap(discard) == is_unmap(json_str(hidden, "discard"));
}

char *twin_drive_hidden(struct twin *t, const char *name, bool read_only)
{
        _cleanup_json_ json_object *of_file = find_told_of_file(t, name);
        const char *aio = json_str(of_file, "aio"), *locking = json_str(of_file, "locking");
        bool unmap = false;

        if (!of_file || (!read_only && !discards(t, name, 0, &unmap)))
                return NULL;
        return text_print("%s%s%s%s%s", aio ? ",aio=" : "", aio ?: "", unmap ? ",discard=unmap" : "",
                          locking ? ",file.locking=" : "", locking ?: "");
}
