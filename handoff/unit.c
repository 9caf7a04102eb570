/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/unit.h"

#include "common/file.h"

#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>

/* What systemd knows about a service: its main process, and what its end depends on. */
static int ask_systemd(const char *unit, uint32_t *ret_main_pid, char **ret_exit_type, sd_bus_error *error)
{
        static const char manager[] = "org.freedesktop.systemd1",
                          service[] = "org.freedesktop.systemd1.Service";
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ char *path = NULL;
        int r = sd_bus_open_system(&bus);

        if (r >= 0)
                r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);
        if (r >= 0)
                r = sd_bus_get_property_trivial(bus, manager, path, service, "MainPID", error, 'u',
                                                ret_main_pid);
        if (r >= 0)
                r = sd_bus_get_property_string(bus, manager, path, service, "ExitType", error, ret_exit_type);
        return r;
}

static pid_t parent_of(pid_t pid)
{
        _cleanup_free_ char *path = text_print("/proc/%d/stat", pid), *stat = NULL;
        const char *rest;
        int parent = 0;

        if (file_read(-1, path, 4096, &stat, NULL) < 0)
                return 0;
        rest = strrchr(stat, ')'); /* after the name, which may contain anything */
        return rest && sscanf(rest, ") %*c %d", &parent) == 1 ? parent : 0;
}

static bool is_ancestor(pid_t pid, pid_t of)
{
        for (int depth = 0; of > 1 && depth < 64; depth++) {
                of = parent_of(of);
                if (of == pid)
                        return true;
        }
        return false;
}

/* Whoever started the source and waits for its end. */
static void check_parent(struct handoff *h, const char *unit, struct findings *fs, const char *id)
{
        _cleanup_free_ char *machine = NULL, *path = NULL, *name = NULL;
        pid_t parent = parent_of(h->source.process.pid);

        if (sd_pid_get_machine_name(h->source.process.pid, &machine) >= 0)
                return finding_warn(
                        fs, id, "make sure that its manager does not end the VM when this process exits",
                        "the source is the machine %s of systemd-machined: its manager notices when it exits",
                        machine);
        if (parent <= 1)
                return finding_pass(fs, id, "%s outlives the source", unit);
        path = text_print("/proc/%d/comm", parent);
        if (file_read(-1, path, 64, &name, NULL) >= 0)
                name[strcspn(name, "\n")] = '\0';
        finding_warn(fs, id, "make sure that it does not end the VM then",
                     "process %d (%s) is the source's parent, and notices when it exits", parent,
                     name ?: "?");
}

static void check_service(struct handoff *h, const char *unit, struct findings *fs, const char *id)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *exit_type = NULL;
        pid_t source = h->source.process.pid;
        uint32_t main_pid = 0;
        int r = ask_systemd(unit, &main_pid, &exit_type, &error);

        if (r < 0)
                return finding_warn(
                        fs, id, "make sure that cprd-handoff can talk to systemd over the system bus",
                        "cannot see whether %s outlives the source: %s", unit, error.message ?: strerror(-r));
        if (STREQ(exit_type, "cgroup") || main_pid == 0)
                return check_parent(h, unit, fs, id);
        if (main_pid == (uint32_t)source)
                return finding_block(fs, id, "set ExitType=cgroup in it, or run the VM in a scope",
                                     "the source is the main process of %s: systemd would stop it, and kill "
                                     "the destination, when the source exits",
                                     unit);
        if (is_ancestor((pid_t)main_pid, source))
                return finding_block(
                        fs, id, "set ExitType=cgroup in it, or run the VM in a scope",
                        "the source was started by the main process of %s: if that exits because the "
                        "source does, systemd kills the destination",
                        unit);
        check_parent(h, unit, fs, id);
}

void check_unit(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_free_ char *unit = NULL, *user_unit = NULL;
        pid_t source = h->source.process.pid;
        size_t n;

        if (sd_pid_get_unit(source, &unit) < 0)
                return check_parent(h, "what it runs in", fs, id);
        if (sd_pid_get_user_unit(source, &user_unit) >= 0)
                return finding_warn(
                        fs, id,
                        "run the VM in a unit of the system, or make sure that this one has ExitType=cgroup",
                        "the source is in %s of a user's own systemd, which may end it when the source "
                        "exits",
                        user_unit);
        n = strlen(unit);
        if (n > 8 && STREQ(unit + n - 8, ".service"))
                return check_service(h, unit, fs, id);
        check_parent(h, unit, fs, id);
}
