/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"
#include "handoff/qtree.h"

/* Properties that differ between twins, or that are compared elsewhere. docs/twin.md has the reasons. */
static bool is_host_matter(const char *name, const char *a, const char *b)
{
        static const char *const names[] = {"MCFG", "busnr",   "chardev",     "drive",
                                            "fd",   "iommufd", "smb_io_base", "vhostfd"};
        static const char unattached[] = "/machine/unattached/";

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (STREQ(name, names[i]))
                        return true;
        /* A quoted link to a device that the machine made and numbered. */
        return strstr(a, unattached) && strstr(b, unattached);
}

static const char *name_of(json_object *device, const char *key)
{
        return json_str(device, "id") ?: key;
}

static void compare_properties(struct match *m, const char *key, json_object *source,
                               json_object *destination)
{
        json_object *a = json_obj(source, "properties"), *b = json_obj(destination, "properties");

        json_object_object_foreach (a, name, value) {
                const char *x = json_object_get_string(value), *y = json_str(b, name);

                /* One that only one of the versions has cannot be compared. */
                if (!y || STREQ(x, y) || is_host_matter(name, x, y))
                        continue;
                match_differs(m, "device",
                              "set it back to what it was at the start, or restart the VM with it",
                              "device %s (%s): %s is %s in the source and %s in the destination",
                              name_of(source, key), json_str(source, "type"), name, x, y);
        }
}

static bool same_string(json_object *a, json_object *b, const char *member)
{
        return STREQ(json_str(a, member) ?: "", json_str(b, member) ?: "");
}

static void compare_device(struct match *m, const char *key, json_object *source, json_object *destination)
{
        const char *name = name_of(source, key);

        if (!same_string(source, destination, "type"))
                match_differs(m, "device", "restart the VM with this device on its command line",
                              "device %s is a %s in the source and a %s in the destination", name,
                              json_str(source, "type"), json_str(destination, "type"));
        else if (!same_string(source, destination, "bus"))
                match_differs(m, "device", "restart the VM with this device on its command line",
                              "device %s is on bus %s in the source and on %s in the destination", name,
                              json_str(source, "bus"), json_str(destination, "bus"));
        else if (!same_string(source, destination, "pciId"))
                match_differs(m, "device", "use a destination of the same series",
                              "device %s is PCI device %s in the source and %s in the destination", name,
                              json_str(source, "pciId") ?: "none", json_str(destination, "pciId") ?: "none");
        else
                compare_properties(m, key, source, destination);
}

/* What hangs on a device that the other one lacks is not worth mentioning. */
static bool lacks(json_object *devices, json_object *device, const char *key)
{
        const char *parent = json_str(device, "parent");

        return !json_obj(devices, key) && (!parent || json_obj(devices, parent));
}

static void compare_all(struct match *m, json_object *source, json_object *destination)
{
        json_object_object_foreach (source, key, device) {
                json_object *other = json_obj(destination, key);

                if (other)
                        compare_device(m, key, device, other);
                else if (lacks(destination, device, key))
                        match_differs(m, "hot-plug",
                                      "unplug it again, or restart the VM with it on its command line",
                                      "device %s (%s) on bus %s is in the source only", name_of(device, key),
                                      json_str(device, "type"), json_str(device, "bus"));
        }
        json_object_object_foreach (destination, more, extra) {
                if (lacks(source, extra, more))
                        match_differs(m, "hot-plug", "plug it in again, or restart the VM without it",
                                      "device %s (%s) on bus %s is in the destination only",
                                      name_of(extra, more), json_str(extra, "type"), json_str(extra, "bus"));
        }
}

static int parse(json_object *text, const char *whose, json_object **ret, struct failure *f)
{
        int r = qtree_parse(json_object_get_string(text), ret);

        return r < 0 ? failure_set(f, r, "cannot read the %s's tree of devices", whose) : 0;
}

int match_devices(struct match *m, struct failure *f)
{
        _cleanup_json_ json_object *source = NULL, *destination = NULL;
        json_object *a, *b;
        int r;

        if (!match_answers(m, MATCH_QTREE, json_type_string, &a, &b))
                return 0;
        r = parse(a, "source", &source, f);
        if (r >= 0)
                r = parse(b, "destination", &destination, f);
        if (r >= 0)
                compare_all(m, source, destination);
        return r;
}
