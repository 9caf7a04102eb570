/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/units.h"

#include "common/log.h"
#include "daemon/handoffs.h"

#include <signal.h>
#include <systemd/sd-bus.h>

#define UNIT_PREFIX "cprd-handoff@"
#define UNIT_SUFFIX ".service"

struct units {
        sd_bus *bus;
};

static const char manager[] = "org.freedesktop.systemd1", manager_path[] = "/org/freedesktop/systemd1",
                  manager_interface[] = "org.freedesktop.systemd1.Manager";

static void unit_name(const char *id, char *name, size_t size)
{
        snprintf(name, size, UNIT_PREFIX "%s" UNIT_SUFFIX, id);
}

/* The handoff whose unit this is; NULL: none that waits for its cprd-handoff. */
static struct handoff *starting_handoff(struct daemon *d, const char *unit)
{
        for (struct handoff *h = d->handoffs; h; h = h->next) {
                char name[64];

                unit_name(h->id, name, sizeof(name));
                if (h->state == HANDOFF_STARTING && STREQ(name, unit))
                        return h;
        }
        return NULL;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *job, *unit, *result;
        struct handoff *h;
        uint32_t id;
        char why[128];

        if (sd_bus_message_read(m, "uoss", &id, &job, &unit, &result) < 0)
                return 0;
        h = starting_handoff(userdata, unit);
        if (!h || STREQ(result, "done") || STREQ(result, "canceled"))
                return 0;
        snprintf(why, sizeof(why), "%s did not start (%s)", unit, result);
        handoff_helper_lost(h, why);
        return 0;
}

/* A call of the manager on its way: for which handoff. */
struct unit_call {
        struct daemon *daemon;
        char id[16];
};

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const sd_bus_error *e = sd_bus_message_get_error(m);
        struct unit_call *call = userdata;
        struct handoff *h = handoff_find(call->daemon, call->id);
        char why[256];

        if (!e)
                return 0;
        snprintf(why, sizeof(why), "systemd does not start or kill its cprd-handoff: %s", e->message);
        if (h && h->state == HANDOFF_STARTING)
                handoff_helper_lost(h, why);
        else
                log_full(LOG_WARNING, h ? h->name : NULL, call->id, "%s", why);
        return 0;
}

/* The answer to ListUnitsByNames: of its ten columns the fourth is the state. One that is not loaded is
 * listed as inactive. */
static int on_looked(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct unit_call *call = userdata;
        struct handoff *h = handoff_find(call->daemon, call->id);
        const char *name, *active, *other;
        int r = sd_bus_message_get_error(m) ? -EIO : sd_bus_message_enter_container(m, 'a', "(ssssssouso)");

        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'r', "ssssssouso");
        if (r > 0)
                r = sd_bus_message_read(m, "ssss", &name, &other, &other, &active);
        if (r > 0 && h && (STREQ(active, "inactive") || STREQ(active, "failed")))
                handoff_helper_absent(h);
        return 0;
}

/* Sends @m, whose answer is @answer's. */
static int call_manager(struct daemon *d, const char *id, sd_bus_message *m, sd_bus_message_handler_t answer)
{
        struct unit_call *call = calloc(1, sizeof(*call));
        sd_bus_slot *slot = NULL;
        int r;

        if (!call)
                return -ENOMEM;
        call->daemon = d;
        snprintf(call->id, sizeof(call->id), "%s", id);
        r = sd_bus_call_async(d->units->bus, &slot, m, answer, call, 0);
        if (r < 0) {
                free(call);
                return r;
        }
        /* From now on the bus holds it until the answer, or its own end. */
        sd_bus_slot_set_destroy_callback(slot, free);
        sd_bus_slot_set_floating(slot, 1);
        sd_bus_slot_unref(slot);
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        struct daemon *d = userdata;

        log_warning("the system bus is gone; the next handoff connects to it again");
        d->units->bus = sd_bus_flush_close_unref(d->units->bus);
        return 0;
}

static int connect_bus(struct daemon *d)
{
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        int r = sd_bus_open_system(&bus);

        if (r >= 0)
                r = sd_bus_attach_event(bus, d->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, manager, manager_path, manager_interface,
                                              "JobRemoved", on_job_removed, NULL, d);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local",
                                              "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                              "Disconnected", on_disconnected, NULL, d);
        if (r >= 0) /* or the manager sends no signals */
                r = sd_bus_call_method_async(bus, NULL, manager, manager_path, manager_interface, "Subscribe",
                                             NULL, NULL, NULL);
        if (r >= 0)
                d->units->bus = TAKE_PTR(bus);
        return r;
}

static int bus_get(struct daemon *d, struct failure *f)
{
        int r;

        if (d->units->bus && sd_bus_is_open(d->units->bus) > 0)
                return 0;
        if (d->units->bus)
                d->units->bus = sd_bus_flush_close_unref(d->units->bus);
        r = connect_bus(d);
        if (r < 0) {
                failure_set(f, r, "cannot reach systemd over the system bus: %s", strerror(-r));
                return failure_remedy(f, "is dbus installed and running? (systemctl status dbus)");
        }
        return 0;
}

int units_open(struct daemon *d, struct failure *f)
{
        d->units = calloc(1, sizeof(*d->units));
        return d->units ? bus_get(d, f) : -ENOMEM;
}

void units_close(struct daemon *d)
{
        if (!d->units)
                return;
        sd_bus_flush_close_unref(d->units->bus);
        free(d->units);
        d->units = NULL;
}

/* A call of the service manager, its arguments still to be appended. */
static int new_call(struct daemon *d, const char *method, struct failure *f, sd_bus_message **ret)
{
        int r = bus_get(d, f);

        return r < 0 ? r
                     : sd_bus_message_new_method_call(d->units->bus, ret, manager, manager_path,
                                                      manager_interface, method);
}

int units_start(struct daemon *d, const char *id, struct failure *f)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char name[64];
        int r = new_call(d, "RestartUnit", f, &m);

        unit_name(id, name, sizeof(name));
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", name, "replace");
        if (r >= 0)
                r = call_manager(d, id, m, on_answer);
        return r < 0 ? failure_set(f, r, "cannot start %s: %s", name, strerror(-r)) : 0;
}

int units_kill(struct daemon *d, const char *id)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char name[64];
        int r = new_call(d, "KillUnit", NULL, &m);

        unit_name(id, name, sizeof(name));
        if (r >= 0)
                r = sd_bus_message_append(m, "ssi", name, "main", SIGKILL);
        return r < 0 ? r : call_manager(d, id, m, on_answer);
}

int units_look(struct daemon *d, const char *id)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char name[64];
        int r = new_call(d, "ListUnitsByNames", NULL, &m);

        unit_name(id, name, sizeof(name));
        if (r >= 0)
                r = sd_bus_message_append(m, "as", 1, name);
        return r < 0 ? r : call_manager(d, id, m, on_looked);
}
