/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/making.h"
#include "handoff/optstr.h"

static bool has(const char *value, const char *key)
{
        _cleanup_free_ char *found = optstr_get(value, key);

        return found;
}

void take_display(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "type");

        if (type && (STREQ(type, "none") || STREQ(type, "egl-headless")))
                return making_keep(m);
        making_refuse(m, "a window or a display server's port belongs to one process", "use -display none");
}

/* The display with its settings; its address comes later (vnc.h). */
void take_vnc(struct making *m)
{
        static const char *const of_address[] = {"to", "ipv4", "ipv6"};
        _cleanup_free_ char *address = optstr_first(m->value, "vnc"), *value = NULL;

        if (optstr_is_on(m->value, "reverse"))
                return making_refuse(m, "its connection to a viewer belongs to one process",
                                     "let the viewer connect to the VM");
        if (has(m->value, "websocket"))
                return making_refuse(m, "QEMU cannot be given a websocket port while it runs",
                                     "start the VM without websocket=");
        if (address && STREQ(address, "none"))
                return making_keep(m);
        value = optstr_with_first(m->value, "vnc", "none");
        for (size_t i = 0; i < ELEMENTSOF(of_address); i++) {
                _cleanup_free_ char *before = value;

                value = optstr_without(before, of_address[i]);
        }
        making_add(m, m->option, value);
}

/* Those with an interface make a device of their own, without an id. */
void take_drive(struct making *m)
{
        _cleanup_free_ char *interface = optstr_get(m->value, "if");

        if (interface && STREQ(interface, "virtio"))
                m->facts->n_devices++;
        if (optstr_is_on(m->value, "snapshot"))
                return making_refuse(
                        m,
                        "what the guest wrote is in a file of the source's own that has no name; the "
                        "destination would start with a new one",
                        "give the drive an overlay with a name (qemu-img create -b), without snapshot=on");
        making_keep(m);
}

/* discard-data=on would have whichever of both QEMUs exits by itself discard the other's memory: as long as
 * there are two it is off in both (settings.h). */
static void keep_memory(struct making *m, const char *path)
{
        _cleanup_free_ char *given = optstr_get(m->value, "mem-path"),
                            *kept = m->plan->keep_discard ? text_copy(m->value)
                                                          : optstr_without(m->value, "discard-data"),
                            *changed = NULL;

        if (!STREQ(given, path))
                changed = optstr_with(kept, "mem-path", path);
        making_add(m, m->option, changed ?: kept);
}

/* By its name, if that leads to it; else by the source's own fd. */
static void take_memory_file(struct making *m)
{
        const struct cmdline_plan *plan = m->plan;
        _cleanup_free_ char *path = optstr_get(m->value, "mem-path"), *id = optstr_get(m->value, "id"),
                            *handed_on = NULL;
        struct memory_file *file = &m->facts->memory[m->facts->n_memory];
        int fd = -ENOENT;

        if (path && (!plan->maps_file || plan->maps_file(plan->userdata, path)))
                return keep_memory(m, path);
        if (path && id && plan->find_memory && m->facts->n_memory < MEMORY_FILES_MAX)
                fd = plan->find_memory(plan->userdata, path, id);
        if (fd < 0)
                return making_refuse(
                        m,
                        "the guest's memory is not in that file (it is a directory, or the file has "
                        "been removed or replaced), and not in a file of the source's that can be found: "
                        "the destination would find empty memory",
                        "start the VM with memory-backend-memfd, or with a mem-path that is a file");
        *file = (struct memory_file){fd, plan->first_memory_fd + (int)m->facts->n_memory++};
        handed_on = text_print("/proc/self/fd/%d", file->fd_number);
        keep_memory(m, handed_on);
}

void take_object(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "qom-type");

        if (type && STREQ(type, "memory-backend-file"))
                return take_memory_file(m);
        if (type && STREQ(type, "filter-dump"))
                return making_refuse(m, "the destination would empty the file",
                                     "remove it (QMP object-del) and start the VM without it");
        if (has(m->value, "fd"))
                return making_refuse(m, "it names an fd of the source that cprd does not hand on",
                                     "let QEMU open it by itself, without fd=");
        making_keep(m);
}

void take_audiodev(struct making *m)
{
        _cleanup_free_ char *driver = optstr_first(m->value, "driver");

        if (driver && STREQ(driver, "wav"))
                return making_refuse(m, "the destination would empty the file", "use -audiodev none");
        making_keep(m);
}

void take_tpm(struct making *m)
{
        making_refuse(m, "a TPM, or its emulator, serves one QEMU at a time", "start the VM without it");
}
