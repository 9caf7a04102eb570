/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/commands.h"

struct command {
        const char *name;
        const char *argument; /* whose values are limited; NULL: none */
        const char *value;    /* an allowed value; one row for each */
        const char *why;      /* why it does not harm a running guest */
};

/* clang-format off */
static const struct command commands[] = {
        /* the connection */
        {"qmp_capabilities",           NULL, NULL, "ends the negotiation of this monitor"},
        {"query-version",              NULL, NULL, "constants"},
        {"query-status",               NULL, NULL, "reads a variable"},
        {"query-name",                 NULL, NULL, "reads a variable"},
        {"query-uuid",                 NULL, NULL, "reads a variable"},
        {"query-kvm",                  NULL, NULL, "reads two variables"},
        /* the machine */
        {"qom-list",                   NULL, NULL, "walks one object's table of properties"},
        {"qom-list-properties",        NULL, NULL, "walks a class's table of properties, without an instance of it"},
        {"qom-get",                    NULL, NULL, "calls one getter"},
        {"query-memdev",               NULL, NULL, "reads the memory backends' properties"},
        {"query-memory-devices",       NULL, NULL, "reads the DIMMs' properties"},
        {"query-hotpluggable-cpus",    NULL, NULL, "reads the machine's table of CPUs"},
        {"query-iothreads",            NULL, NULL, "reads the iothreads' properties"},
        {"query-cpus-fast",            NULL, NULL, "reads the list of vCPUs, and stops none"},
        {"human-monitor-command",      "command-line", "info qtree", "calls the getters of all devices"},
        {"human-monitor-command",      "command-line", "info ramblock", "walks the list of RAM blocks"},
        {"human-monitor-command",      "command-line", "info network", "walks the list of network clients"},
        {"x-query-virtio",             NULL, NULL, "walks the list of virtio devices"},
        {"x-query-virtio-queue-status", NULL, NULL, "reads one queue; nothing of a vhost backend"},
        /* its backends */
        {"query-block",                NULL, NULL, "reads the block graph"},
        {"query-named-block-nodes",    NULL, NULL, "reads the block graph"},
        {"x-debug-query-block-graph",  NULL, NULL, "reads the block graph"},
        {"query-jobs",                 NULL, NULL, "reads the list of jobs"},
        {"query-block-exports",        NULL, NULL, "reads the list of exports"},
        {"query-chardev",              NULL, NULL, "reads the list of chardevs"},
        {"query-vnc-servers",          NULL, NULL, "reads the list of VNC displays"},
        {"query-fdsets",               NULL, NULL, "reads the list of fd sets"},
        {"query-tpm",                  NULL, NULL, "reads the list of TPMs"},
        {"query-audiodevs",            NULL, NULL, "reads the list of audio backends"},
        /* the migration */
        {"query-migrate",              NULL, NULL, "reads the migration's state"},
        {"query-migrate-capabilities", NULL, NULL, "reads variables"},
        {"query-migrate-parameters",   NULL, NULL, "reads variables"},
        {"migrate-set-capabilities",   NULL, NULL, "changes what is put back afterwards (settings.h)"},
        {"migrate-set-parameters",     NULL, NULL, "changes what is put back afterwards (settings.h)"},
        {"migrate",                    NULL, NULL, "the handoff itself"},
        {"migrate_cancel",             NULL, NULL, "of our own migration only"},
        {"qom-set",                    "property", "discard-data", "what it keeps from being lost is put back afterwards"},
        {"cont",                       NULL, NULL, "after a stop of our own only"},
        {"getfd",                      NULL, NULL, "takes an fd, which `closefd` closes"},
        {"closefd",                    NULL, NULL, "closes an fd that `getfd` gave it"},
};
/* clang-format on */

bool command_is_allowed(const char *command, json_object *arguments)
{
        for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
                const struct command *c = &commands[i];

                if (STREQ(c->name, command) &&
                    (!c->argument || STREQ(json_str(arguments, c->argument) ?: "", c->value)))
                        return true;
        }
        return false;
}
