/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/unit.h"

#include <systemd/sd-bus.h>
#include <systemd/sd-login.h>

#define ID "unit"

/* What systemd knows of a service: its main process, and what its end depends on. */
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

void check_unit(struct handoff *h, struct findings *fs)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *unit = NULL, *exit_type = NULL;
        uint32_t main_pid = 0;
        size_t n;
        int r = sd_pid_get_unit(h->source.process.pid, &unit);

        if (r < 0)
                return finding_pass(fs, ID, "the source is in no unit of systemd");
        n = strlen(unit);
        if (n < 8 || !STREQ(unit + n - 8, ".service"))
                return finding_pass(fs, ID, "the source is in %s", unit);
        r = ask_systemd(unit, &main_pid, &exit_type, &error);
        if (r < 0)
                return finding_warn(fs, ID, "see that cprd-handoff can talk to systemd over the system bus",
                                    "cannot see whether %s outlives the source: %s", unit,
                                    error.message ?: strerror(-r));
        if (main_pid == (uint32_t)h->source.process.pid && !STREQ(exit_type, "cgroup"))
                return finding_block(fs, ID, "set ExitType=cgroup in it, or run the VM in a scope",
                                     "the source is the main process of %s: systemd would stop it, and kill "
                                     "the destination, when the source exits",
                                     unit);
        finding_pass(fs, ID, "%s outlives the source", unit);
}
