/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/making.h"
#include "handoff/optstr.h"

static bool has(const char *value, const char *key)
{
        _cleanup_free_ char *found = optstr_get(value, key);

        return found;
}

void take_netdev(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "type");

        if (type && (STREQ(type, "none") || STREQ(type, "hubport") || STREQ(type, "nic")))
                return making_keep(m);
        if (type && STREQ(type, "user") && !has(m->value, "hostfwd") && !has(m->value, "guestfwd")) {
                making_warn(m, "the guest's TCP connections through it will be cut",
                            "use a network that is not inside of QEMU, if they matter");
                return making_keep(m);
        }
        if (type && STREQ(type, "user"))
                return making_refuse(m, "two QEMUs cannot forward one port",
                                     "start the VM without hostfwd and guestfwd");
        making_refuse(
                m, "its host side cannot be opened by two QEMUs at once, and is not handed on by cprd",
                "give the VM its network by other means than this backend, or wait for a cprd that hands it on");
}

void take_display(struct making *m)
{
        _cleanup_free_ char *type = optstr_first(m->value, "type");

        if (type && (STREQ(type, "none") || STREQ(type, "egl-headless")))
                return making_keep(m);
        making_refuse(m, "a window or a display server's port belongs to one process", "use -display none");
}

void take_vnc(struct making *m)
{
        if (STREQ(m->value, "none"))
                return making_keep(m);
        if (strncmp(m->value, "unix:", 5) == 0)
                return making_refuse(
                        m,
                        "the destination would take the socket's path away from the source before it "
                        "is known to work: QEMU takes no socket that is open already for VNC",
                        "start the VM with -vnc none; a display can be switched on later by QMP "
                        "display-update");
        making_refuse(
                m, "two QEMUs cannot listen on one port",
                "start the VM with -vnc none; a display can be switched on later by QMP display-update");
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
                        "destination would begin with a new one",
                        "give the drive an overlay with a name (qemu-img create -b), without snapshot=on");
        making_keep(m);
}

static void take_memory_file(struct making *m)
{
        _cleanup_free_ char *path = optstr_get(m->value, "mem-path");

        if (optstr_is_on(m->value, "discard-data"))
                return making_refuse(
                        m, "when the source exits it discards the memory that the destination runs on",
                        "start the VM without discard-data=on");
        if (!path || (m->plan->maps_file && !m->plan->maps_file(m->plan->userdata, path)))
                return making_refuse(
                        m,
                        "the guest's memory is not in that file (it is a directory, or the file has "
                        "been removed or replaced): the destination would find empty memory",
                        "start the VM with memory-backend-memfd, or with a mem-path that is a file");
        making_keep(m);
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
                return making_refuse(m, "its fd is one of the source's that cprd does not hand on",
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
