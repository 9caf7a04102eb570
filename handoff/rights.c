/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/rights.h"

#include <sys/fsuid.h>
#include <unistd.h>

void rights_of_source(const struct handoff *h)
{
        setfsgid((gid_t)h->facts.source.gid);
        setfsuid((uid_t)h->facts.source.uid);
}

void rights_own(void)
{
        setfsuid(geteuid());
        setfsgid(getegid());
}
