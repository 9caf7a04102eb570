/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/qtree.h"

#define DEPTH_MAX 32
#define NAME_SIZE 256

/* One device, while its lines come: its key is known once they have come. */
struct reader {
        json_object *devices;
        char device[DEPTH_MAX][NAME_SIZE]; /* at each level: the name of the device there, for its buses */
        char bus[DEPTH_MAX][NAME_SIZE];
        json_object *current; /* owned */
        size_t level;         /* its depth */
};

/* Its name among those of its bus: "TYPE@ADDRESS" of a PCI device, or "TYPE#NUMBER". */
static void name_anonymous(const struct reader *r, char name[NAME_SIZE])
{
        const char *type = json_str(r->current, "type"), *bus = json_str(r->current, "bus");
        const char *address = json_str(json_obj(r->current, "properties"), "addr");

        if (address && *address) {
                snprintf(name, NAME_SIZE, "%.80s/%.80s@%.16s", bus, type, address);
                return;
        }
        for (unsigned i = 0; i < QTREE_DEVICES_MAX; i++) {
                snprintf(name, NAME_SIZE, "%.80s/%.80s#%u", bus, type, i);
                if (!json_object_object_get_ex(r->devices, name, NULL))
                        return;
        }
}

static void finish_device(struct reader *r)
{
        char *name = r->device[r->level];
        const char *id = json_str(r->current, "id");

        if (!r->current)
                return;
        if (id)
                snprintf(name, NAME_SIZE, "%s", id);
        else
                name_anonymous(r, name);
        json_add(r->devices, name, TAKE_PTR(r->current));
}

/* "dev: TYPE, id \"ID\"" */
static int begin_device(struct reader *r, size_t depth, char *text)
{
        char *id = strstr(text, ", id \""), *end;

        if (!id || depth == 0 || json_object_object_length(r->devices) >= QTREE_DEVICES_MAX)
                return -EBADMSG;
        *id = '\0';
        id += strlen(", id \"");
        end = strrchr(id, '"');
        if (!end)
                return -EBADMSG;
        *end = '\0';
        r->current = json_object_new_object();
        r->level = depth;
        json_add_str(r->current, "type", text);
        json_add_str(r->current, "id", *id ? id : NULL);
        json_add_str(r->current, "bus", r->bus[depth - 1]);
        json_add_str(r->current, "parent", depth > 1 ? r->device[depth - 2] : NULL);
        json_add(r->current, "properties", json_object_new_object());
        return 0;
}

/* A bus without a name of its own ("virtio-bus") is told from the others by its device; one that QEMU already
 * named after its device ("vser.0") needs no such help, but it does no harm. */
static void begin_bus(struct reader *r, size_t depth, const char *name)
{
        char owner[NAME_SIZE / 2] = "";

        if (depth > 0)
                strncat(owner, r->device[depth - 1], sizeof(owner) - 1);
        snprintf(r->bus[depth], NAME_SIZE, "%s%s%.120s", owner, depth > 0 ? "/" : "", name);
}

/* "class Ethernet controller, addr 01:00.0, pci id 1af4:1041 (sub 1af4:1100)": the first address is the
 * guest's numbering of buses. */
static void take_detail(struct reader *r, char *text)
{
        char *id = strstr(text, "pci id "), *equals = strstr(text, " = ");

        if (strncmp(text, "class ", 6) == 0 && id) {
                json_add_str(r->current, "pciId", id + strlen("pci id "));
        } else if (equals && strcspn(text, " ") == (size_t)(equals - text)) {
                *equals = '\0';
                json_add_str(json_obj(r->current, "properties"), text, equals + strlen(" = "));
        }
}

static int take_line(struct reader *r, char *line)
{
        size_t indent = strspn(line, " "), depth = indent / 2;
        char *text = line + indent;

        if (depth >= DEPTH_MAX)
                return -EBADMSG;
        if (strncmp(text, "bus: ", 5) == 0) {
                finish_device(r);
                begin_bus(r, depth, text + 5);
        } else if (strncmp(text, "dev: ", 5) == 0) {
                finish_device(r);
                return begin_device(r, depth, text + 5);
        } else if (r->current) {
                take_detail(r, text);
        }
        return 0;
}

int qtree_parse(const char *text, json_object **ret)
{
        _cleanup_free_ char *copy = text_copy(text);
        _cleanup_free_ struct reader *r = mem_new(1, sizeof(*r));
        char *rest = NULL;
        int result = 0;

        r->devices = json_object_new_object();
        for (char *line = strtok_r(copy, "\r\n", &rest); line && result >= 0;
             line = strtok_r(NULL, "\r\n", &rest))
                result = take_line(r, line);
        finish_device(r);
        if (result >= 0 && json_object_object_length(r->devices) == 0)
                result = -EBADMSG;
        if (result < 0)
                json_object_put(r->devices);
        else
                *ret = r->devices;
        return result;
}
