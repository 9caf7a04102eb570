/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/making.h"

#define ID "command-line"

void making_add(struct making *m, const char *option, const char *value)
{
        cmdline_add(&m->out, option);
        if (value)
                cmdline_add(&m->out, value);
}

void making_keep(struct making *m)
{
        making_add(m, m->option, m->value);
}

void making_refuse(struct making *m, const char *why, const char *remedy)
{
        finding_block(m->fs, ID, remedy, "%s%s%s: %s", m->option, m->value ? " " : "", m->value ?: "", why);
        making_keep(m);
}

void making_warn(struct making *m, const char *what, const char *remedy)
{
        finding_warn(m->fs, ID, remedy, "%s%s%s: %s", m->option, m->value ? " " : "", m->value ?: "", what);
}
