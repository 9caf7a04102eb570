/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/units.h"

#include "common/log.h"

#include <signal.h>
#include <systemd/sd-bus.h>

#define UNIT_PREFIX "cprd-handoff@"
#define UNIT_SUFFIX ".service"

struct units {
        sd_bus *bus; /* NULL: not connected */
        sd_event *event;
        const struct units_events *events;
        void *userdata;
};

static const char manager[] = "org.freedesktop.systemd1", manager_path[] = "/org/freedesktop/systemd1",
                  manager_interface[] = "org.freedesktop.systemd1.Manager";

static void unit_name(const char *id, char *name, size_t size)
{
        snprintf(name, size, UNIT_PREFIX "%s" UNIT_SUFFIX, id);
}

/* The id in a unit's name; false: it is some other unit. */
static bool unit_id(const char *unit, char *id, size_t size)
{
        const size_t prefix = strlen(UNIT_PREFIX), suffix = strlen(UNIT_SUFFIX);
        size_t n = strlen(unit);

        if (n <= prefix + suffix || n - prefix - suffix >= size || strncmp(unit, UNIT_PREFIX, prefix) != 0 ||
            !STREQ(unit + n - suffix, UNIT_SUFFIX))
                return false;
        snprintf(id, size, "%.*s", (int)(n - prefix - suffix), unit + prefix);
        return true;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *job, *unit, *result;
        struct units *u = userdata;
        char id[16], why[128];
        uint32_t number;

        if (sd_bus_message_read(m, "uoss", &number, &job, &unit, &result) < 0 || STREQ(result, "done") ||
            STREQ(result, "canceled") || !unit_id(unit, id, sizeof(id)))
                return 0;
        snprintf(why, sizeof(why), "%s did not start (%s)", unit, result);
        u->events->failed(u->userdata, id, why);
        return 0;
}

/* A pending call of the manager, and the job it is for. */
struct unit_call {
        struct units *units;
        char id[16];
};

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const sd_bus_error *e = sd_bus_message_get_error(m);
        struct unit_call *call = userdata;
        char why[256];

        if (!e)
                return 0;
        snprintf(why, sizeof(why), "systemd refused to start or kill its cprd-handoff: %s", e->message);
        call->units->events->failed(call->units->userdata, call->id, why);
        return 0;
}

/* The answer to ListUnitsByNames: the fourth of its ten columns is the state. A unit that is not loaded is
 * listed as inactive. */
static int on_looked(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct unit_call *call = userdata;
        const char *name, *active, *other;
        int r = sd_bus_message_get_error(m) ? -EIO : sd_bus_message_enter_container(m, 'a', "(ssssssouso)");

        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'r', "ssssssouso");
        if (r > 0)
                r = sd_bus_message_read(m, "ssss", &name, &other, &other, &active);
        if (r > 0 && (STREQ(active, "inactive") || STREQ(active, "failed")))
                call->units->events->absent(call->units->userdata, call->id);
        return 0;
}

/* Sends @m; @answer handles the reply. */
static int call_manager(struct units *u, const char *id, sd_bus_message *m, sd_bus_message_handler_t answer)
{
        struct unit_call *call = mem_new(1, sizeof(*call));
        sd_bus_slot *slot = NULL;
        int r;

        call->units = u;
        snprintf(call->id, sizeof(call->id), "%s", id);
        r = sd_bus_call_async(u->bus, &slot, m, answer, call, 0);
        if (r < 0) {
                free(call);
                return r;
        }
        /* From now on the bus owns it, until the answer or the bus's own end. */
        sd_bus_slot_set_destroy_callback(slot, free);
        sd_bus_slot_set_floating(slot, 1);
        sd_bus_slot_unref(slot);
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct units *u = userdata;

        log_warning("lost the system bus; the next handoff will reconnect");
        u->bus = sd_bus_flush_close_unref(u->bus);
        return 0;
}

static int connect_bus(struct units *u)
{
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r = sd_bus_open_system(&bus);

        if (r >= 0)
                r = sd_bus_attach_event(bus, u->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, manager, manager_path, manager_interface,
                                              "JobRemoved", on_job_removed, NULL, u);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local",
                                              "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                              "Disconnected", on_disconnected, NULL, u);
        if (r >= 0) /* without it, the manager sends no signals */
                r = sd_bus_call_method_async(bus, NULL, manager, manager_path, manager_interface, "Subscribe",
                                             NULL, NULL, NULL);
        if (r >= 0)
                u->bus = TAKE_PTR(bus);
        return r;
}

static int bus_get(struct units *u, struct failure *f)
{
        int r;

        if (u->bus && sd_bus_is_open(u->bus) > 0)
                return 0;
        if (u->bus)
                u->bus = sd_bus_flush_close_unref(u->bus);
        r = connect_bus(u);
        if (r < 0) {
                failure_set(f, r, "cannot reach systemd over the system bus: %s", strerror(-r));
                return failure_remedy(f, "is dbus installed and running? (systemctl status dbus)");
        }
        return 0;
}

int units_new(sd_event *event, const struct units_events *events, void *userdata, struct units **ret,
              struct failure *f)
{
        struct units *u = mem_new(1, sizeof(*u));

        *u = (struct units){.event = event, .events = events, .userdata = userdata};
        *ret = u;
        return bus_get(u, f);
}

struct units *units_free(struct units *u)
{
        if (u) {
                sd_bus_flush_close_unref(u->bus);
                free(u);
        }
        return NULL;
}

/* A call of the service manager; the arguments are yet to be appended. */
static int new_call(struct units *u, const char *method, struct failure *f, sd_bus_message **ret)
{
        int r = bus_get(u, f);

        return r < 0 ? r
                     : sd_bus_message_new_method_call(u->bus, ret, manager, manager_path, manager_interface,
                                                      method);
}

int units_start(struct units *u, const char *id, struct failure *f)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char name[64];
        int r = new_call(u, "RestartUnit", f, &m);

        unit_name(id, name, sizeof(name));
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", name, "replace");
        if (r >= 0)
                r = call_manager(u, id, m, on_answer);
        return r < 0 ? failure_set(f, r, "cannot start %s: %s", name, strerror(-r)) : 0;
}

int units_kill(struct units *u, const char *id)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char name[64];
        int r = new_call(u, "KillUnit", NULL, &m);

        unit_name(id, name, sizeof(name));
        if (r >= 0)
                r = sd_bus_message_append(m, "ssi", name, "main", SIGKILL);
        return r < 0 ? r : call_manager(u, id, m, on_answer);
}

int units_look(struct units *u, const char *id)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char name[64];
        int r = new_call(u, "ListUnitsByNames", NULL, &m);

        unit_name(id, name, sizeof(name));
        if (r >= 0)
                r = sd_bus_message_append(m, "as", 1, name);
        return r < 0 ? r : call_manager(u, id, m, on_looked);
}
