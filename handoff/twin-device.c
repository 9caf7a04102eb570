/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/memfile.h"
#include "handoff/optstr.h"
#include "handoff/twin.h"
#include "handoff/wait.h"

#define GAINED_MAX 64

/* ---- devices of the command line ---- */

/* Pinned to its address in the source, if QEMU chose it: otherwise leaving one out would move the others. */
static char *pin(struct twin *t, const char *id, const char *value)
{
        json_object *device = json_obj(t->devices, id);
        const char *address = json_str(json_obj(device, "properties"), "addr");
        _cleanup_free_ char *given = optstr_get(value, "addr");

        if (!json_str(device, "pciId") || !address || given)
                return text_copy(value);
        return optstr_with(value, "addr", address);
}

/* A SCSI device tells the guest its drive's name, unless it is given another. */
static char *hide_name(char *value, const char *drive)
{
        _cleanup_free_ char *driver = optstr_first(value, "driver"), *given = optstr_get(value, "device_id"),
                            *before = value;

        if (given || strncmp(drive, "cprd-", 5) != 0 || !driver || strncmp(driver, "scsi-", 5) != 0)
                return TAKE_PTR(before);
        return optstr_with(before, "device_id", "");
}

/* Takes over @value. */
static char *with_drive(struct twin *t, const char *id, char *value)
{
        _cleanup_free_ char *drive = optstr_get(value, "drive"), *now = NULL, *before = value;

        if (!drive || !twin_drive_of(t, id, drive, &now))
                return TAKE_PTR(before);
        return now ? hide_name(optstr_with(before, "drive", now), now) : optstr_without(before, "drive");
}

/* Those that are on no bus, and so not in the tree: DIMMs, vCPUs. */
static bool is_peripheral(struct twin *t, const char *id)
{
        json_object *list = t->live[TWIN_PERIPHERAL].reply;

        for (size_t i = 0; json_object_is_type(list, json_type_array) && i < json_object_array_length(list);
             i++)
                if (STREQ(json_str(json_object_array_get_idx(list, i), "name") ?: "", id))
                        return true;
        return false;
}

void twin_take_device(struct twin *t, const char *value)
{
        _cleanup_free_ char *id = optstr_get(value, "id"), *changed = NULL;

        if (!id)
                return twin_add(t, "-device", value);
        if (!is_peripheral(t, id))
                return twin_say(t, "device %s was unplugged since the start: the destination does not get it",
                                id);
        changed = with_drive(t, id, pin(t, id, value));
        twin_add(t, "-device", changed);
}

/* ---- what was plugged in ---- */

/* What can be brought over, by type, with the properties that define it. The comparison looks at all
 * properties, and refuses differences in those not listed here. */
static const struct kind {
        const char *type;
        const char *properties[24];
} devices[] = {
        {"virtio-blk-pci",
         {"drive", "bootindex", "serial", "write-cache", "num-queues", "queue-size", "iothread", "share-rw",
          "discard", "write-zeroes", "rerror", "werror", "logical_block_size", "physical_block_size",
          "disable-legacy", "disable-modern"}},
        {"virtio-net-pci", {"netdev",         "bootindex",     "mac",        "mq",        "vectors",
                            "rx_queue_size",  "tx_queue_size", "host_mtu",   "csum",      "gso",
                            "guest_csum",     "guest_tso4",    "guest_tso6", "guest_ecn", "guest_ufo",
                            "host_tso4",      "host_tso6",     "host_ecn",   "host_ufo",  "mrg_rxbuf",
                            "disable-legacy", "disable-modern"}},
        {"virtio-scsi-pci", {"num_queues", "virtqueue_size", "max_sectors", "cmd_per_lun", "iothread"}},
        {"pc-dimm", {"memdev", "node", "slot", "addr"}},
        {"virtio-rng-pci", {"rng", "max-bytes", "period"}},
        {"virtio-balloon-pci", {"deflate-on-oom", "free-page-reporting", "free-page-hint"}},
        {"scsi-hd",
         {"drive", "bootindex", "channel", "scsi-id", "lun", "serial", "device_id", "wwn", "share-rw",
          "write-cache"}},
        {"scsi-cd",
         {"drive", "bootindex", "channel", "scsi-id", "lun", "serial", "device_id", "write-cache"}},
};

#define BACKEND                                                                                              \
        "size", "share", "merge", "dump", "prealloc", "prealloc-threads", "reserve", "policy", "host-nodes"

/* discard-data comes later (settings.h). */
static const struct kind objects[] = {
        {"memory-backend-memfd", {BACKEND, "hugetlb", "hugetlbsize", "seal"}},
        {"memory-backend-ram", {BACKEND}},
        {"memory-backend-file", {BACKEND, "mem-path", "align", "offset", "pmem", "readonly", "rom"}},
        {"rng-random", {"filename"}},
        {"rng-builtin", {}},
        {"iothread", {"poll-max-ns", "aio-max-batch"}},
        {"throttle-group", {"limits"}},
};

static const struct kind *find_kind(const struct kind *kinds, size_t n, const char *type)
{
        for (size_t i = 0; i < n; i++)
                if (STREQ(kinds[i].type, type))
                        return &kinds[i];
        return NULL;
}

/* As an option takes it: a link to an object by its id. NULL: it is not set (QEMU would not take back what it
 * says then), or QEMU's own doing. */
static json_object *option_value(const char *key, json_object *o)
{
        static const char object[] = "/objects/", machine[] = "/machine/";
        const char *text = json_object_is_type(o, json_type_string) ? json_object_get_string(o) : NULL;

        if (json_object_is_type(o, json_type_array) && !json_object_array_length(o))
                return NULL;
        if (STREQ(key, "hugetlbsize") && !json_object_get_int64(o))
                return NULL;
        if (!text)
                return json_object_get(o);
        if (!*text || strncmp(text, machine, strlen(machine)) == 0)
                return NULL;
        if (strncmp(text, object, strlen(object)) == 0)
                return json_object_new_string(text + strlen(object));
        return json_object_get(o);
}

/* Reads what @kind has of the object at @path into @options. */
static int read_properties(struct twin *t, const char *path, const struct kind *kind, json_object *options,
                           struct failure *f)
{
        struct qmp_question questions[ELEMENTSOF(kind->properties)] = {};
        size_t n = 0;
        int r;

        for (; n < ELEMENTSOF(kind->properties) && kind->properties[n]; n++)
                questions[n] = (struct qmp_question){
                        .command = "qom-get",
                        .arguments = qmp_arguments("path", path, "property", kind->properties[n], NULL),
                };
        r = wait_answers(t->h, questions, n, NULL, 0, f);
        for (size_t i = 0; i < n; i++) {
                json_object *value = r >= 0 && !questions[i].error
                                             ? option_value(kind->properties[i], questions[i].reply)
                                             : NULL;

                if (value)
                        json_add(options, kind->properties[i], value);
                qmp_question_done(&questions[i]);
        }
        return r;
}

static void add_json(struct twin *t, const char *option, json_object *o)
{
        twin_add(t, option,
                 json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Whether an option of the command line has that id. */
static bool is_given(const struct cmdline *c, const char *option, const char *id)
{
        for (size_t i = 1; i + 1 < c->n; i++) {
                _cleanup_free_ char *given =
                        STREQ(c->argv[i], option) ? optstr_get(c->argv[i + 1], "id") : NULL;

                if (given && STREQ(given, id))
                        return true;
        }
        return false;
}

/* ---- objects ---- */

/* Blocks the handoff, and makes `check` say so beforehand. */
static int refuse(struct twin *t, const char *id, const char *kind, const char *name, const char *type)
{
        finding_block(
                &t->h->findings, id, "remove it again, or restart the VM with it on its command line",
                "%s %s (%s) was added since the start, and QEMU does not tell all that a destination would need",
                kind, name, type);
        return 0;
}

/* Memory in a file: as the command line's (backend.c). */
static bool can_be_handed_on(struct twin *t, const char *name, json_object *options)
{
        const struct process *p = &t->h->source.process;
        struct cmdline_facts *facts = &t->h->destination.cmdline_facts;
        const char *path = json_str(options, "mem-path");
        _cleanup_free_ char *handed_on = NULL;
        struct memory_file *file = &facts->memory[facts->n_memory];

        if (!path || memfile_is_mapped(p, path))
                return true;
        if (facts->n_memory >= MEMORY_FILES_MAX)
                return false;
        file->source_fd = memfile_find(p, path, name);
        if (file->source_fd < 0)
                return false;
        file->fd_number = FD_MEMORY + (int)facts->n_memory++;
        handed_on = text_print("/proc/self/fd/%d", file->fd_number);
        json_object_object_del(options, "mem-path");
        json_add_str(options, "mem-path", handed_on);
        return true;
}

static int add_object(struct twin *t, const char *name, const char *type, struct failure *f)
{
        const struct kind *kind = find_kind(objects, ELEMENTSOF(objects), type);
        _cleanup_json_ json_object *options = qmp_arguments("qom-type", type, "id", name, NULL);
        _cleanup_free_ char *path = text_print("/objects/%s", name);
        int r;

        /* QEMU 11.1 makes one for each monitor, and every QEMU makes that of -m. */
        if (strncmp(type, "monitor", 7) == 0 || STREQ(name, "pc.ram"))
                return 0;
        if (!kind)
                return refuse(t, "object", "object", name, type);
        r = read_properties(t, path, kind, options, f);
        if (r < 0)
                return r;
        if (!can_be_handed_on(t, name, options))
                return refuse(t, "object", "object", name, type);
        add_json(t, "-object", options);
        twin_say(t, "object %s (%s) was added since the start: the destination gets it", name, type);
        return 0;
}

/* ---- devices ---- */

/* "rp1" of "rp1/rp1": what -device calls the bus. */
static const char *bus_name(json_object *device)
{
        const char *bus = json_str(device, "bus") ?: "", *slash = strrchr(bus, '/');

        return slash ? slash + 1 : bus;
}

/* A disk whose node has no name, or a NIC whose network was added with it, would not find it. */
static bool can_be_found(struct twin *t, json_object *options)
{
        const char *drive = json_str(options, "drive"), *netdev = json_str(options, "netdev");

        return (!drive || drive[0] != '#') &&
               (!netdev || is_given(&t->h->destination.cmdline, "-netdev", netdev));
}

static int add_device(struct twin *t, const char *id, const char *type, json_object *device,
                      struct failure *f)
{
        const char *address = json_str(json_obj(device, "properties"), "addr");
        const struct kind *kind = find_kind(devices, ELEMENTSOF(devices), type);
        _cleanup_json_ json_object *options = qmp_arguments("driver", type, "id", id, NULL);
        _cleanup_free_ char *path = text_print("/machine/peripheral/%s", id);
        bool is_dimm = !device && STREQ(type, "pc-dimm");
        int r;

        if (device)
                json_add_str(options, "bus", bus_name(device));
        r = kind && (device || is_dimm) ? read_properties(t, path, kind, options, f) : 0;
        if (r < 0)
                return r;
        if (!kind || !(device || is_dimm) || !can_be_found(t, options))
                return refuse(t, "hot-plug", "device", id, type);
        if (json_str(device, "pciId"))
                json_add_str(options, "addr", address);
        add_json(t, "-device", options);
        twin_say(t, "device %s (%s) was plugged in since the start: the destination gets it", id, type);
        return 0;
}

/* The name in "child<NAME>", the caller's; NULL: not a child. */
static char *child_type(json_object *o)
{
        const char *type = json_str(o, "type") ?: "";
        char *name = strncmp(type, "child<", 6) == 0 ? text_copy(type + 6) : NULL;

        if (name)
                name[strcspn(name, ">")] = '\0';
        return name;
}

static size_t length(json_object *list)
{
        return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

static int add_objects(struct twin *t, struct failure *f)
{
        json_object *list = t->live[TWIN_OBJECTS].reply;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < length(list) && i < GAINED_MAX; i++) {
                json_object *o = json_object_array_get_idx(list, i);
                _cleanup_free_ char *type = child_type(o);
                const char *name = json_str(o, "name") ?: "";

                if (type && !is_given(&t->h->destination.cmdline, "-object", name))
                        r = add_object(t, name, type, f);
        }
        return r;
}

/* ---- vCPUs ---- */

static bool ends_with(const char *s, const char *end)
{
        size_t n = strlen(s), m = strlen(end);

        return n >= m && STREQ(s + n - m, end);
}

/* Of query-hotpluggable-cpus; @path NULL: one that was there from the start. */
static json_object *find_cpu(json_object *cpus, const char *path)
{
        static const char first[] = "/machine/unattached/";

        for (size_t i = 0; i < length(cpus); i++) {
                json_object *o = json_object_array_get_idx(cpus, i);
                const char *at = json_str(o, "qom-path") ?: "";

                if (path ? STREQ(at, path) : strncmp(at, first, strlen(first)) == 0)
                        return o;
        }
        return NULL;
}

static struct qmp_question ask_features(const char *path)
{
        return (struct qmp_question){
                .command = "qom-get",
                .arguments = qmp_arguments("path", path ?: "", "property", "feature-words", NULL),
        };
}

/* Its place is all that makes it what it is, if it has the features of those of the start, which -cpu says.
 */
static int add_cpu(struct twin *t, const char *id, const char *type, struct failure *f)
{
        _cleanup_json_ json_object *cpus = NULL, *options = qmp_arguments("driver", type, "id", id, NULL);
        _cleanup_free_ char *path = text_print("/machine/peripheral/%s", id);
        struct qmp_question q[2] = {};
        json_object *cpu, *place;
        bool alike;
        int r = wait_qmp(t->h, t->h->source.qmp, "query-hotpluggable-cpus", NULL, &cpus, f);

        if (r < 0)
                return r;
        cpu = find_cpu(cpus, path);
        q[0] = ask_features(path);
        q[1] = ask_features(json_str(find_cpu(cpus, NULL), "qom-path"));
        r = wait_answers(t->h, q, ELEMENTSOF(q), NULL, 0, f);
        alike = r >= 0 && q[0].reply && q[1].reply && json_object_equal(q[0].reply, q[1].reply);
        qmp_question_done(&q[0]);
        qmp_question_done(&q[1]);
        place = json_obj(cpu, "props");
        if (r < 0)
                return r;
        if (!place || !alike)
                return refuse(t, "hot-plug", "vCPU", id, type);
        json_object_object_foreach (place, key, value) {
                json_add(options, key, json_object_get(value));
        }
        add_json(t, "-device", options);
        twin_say(t, "vCPU %s (%s) was plugged in since the start: the destination gets it", id, type);
        return 0;
}

/* Those that are on no bus. */
static int add_others(struct twin *t, struct failure *f)
{
        json_object *list = t->live[TWIN_PERIPHERAL].reply;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < length(list) && i < GAINED_MAX; i++) {
                json_object *o = json_object_array_get_idx(list, i);
                _cleanup_free_ char *type = child_type(o);
                const char *name = json_str(o, "name") ?: "";

                if (type && !json_obj(t->devices, name) &&
                    !is_given(&t->h->destination.cmdline, "-device", name))
                        r = ends_with(type, "-cpu") ? add_cpu(t, name, type, f)
                                                    : add_device(t, name, type, NULL, f);
        }
        return r;
}

int twin_add_gained(struct twin *t, struct failure *f)
{
        int r = add_objects(t, f);

        /* A bus comes before what is on it. */
        json_object_object_foreach (t->devices, id, device) {
                if (r >= 0 && json_str(device, "id") && is_peripheral(t, id) &&
                    !is_given(&t->h->destination.cmdline, "-device", id))
                        r = add_device(t, id, json_str(device, "type"), device, f);
        }
        return r < 0 ? r : add_others(t, f);
}
