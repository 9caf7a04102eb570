/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/confinement.h"

#include "common/file.h"
#include "handoff/optstr.h"

/* Those that -sandbox, and its elevateprivileges=deny or children, explain. */
struct own {
        bool seccomp, no_new_privs;
};

static struct own read_sandbox(const struct cmdline *c)
{
        struct own own = {};

        for (size_t i = 0; i + 1 < c->n; i++) {
                _cleanup_free_ char *elevate = NULL;

                if (!STREQ(c->argv[i], "-sandbox") && !STREQ(c->argv[i], "--sandbox"))
                        continue;
                own.seccomp = true;
                elevate = optstr_get(c->argv[i + 1], "elevateprivileges");
                own.no_new_privs = elevate && (STREQ(elevate, "deny") || STREQ(elevate, "children"));
        }
        return own;
}

void check_seccomp(struct handoff *h, struct findings *fs, const char *id)
{
        struct own own = read_sandbox(&h->source.cmdline);
        uint64_t filters = 0;

        process_status_number(&h->source.process, "Seccomp_filters", 10, &filters);
        if (filters > own.seccomp)
                return finding_warn(fs, id, "confine QEMU with -sandbox on",
                                    "the source runs under a seccomp filter that is not of its command line: "
                                    "the destination will not");
        finding_pass(fs, id, "no seccomp filter but QEMU's own");
}

/* No kernel shows from outside whether a process is in a Landlock domain. Whoever puts one on a QEMU has to
 * set no_new_privs first, unless they are root. */
void check_landlock(struct handoff *h, struct findings *fs, const char *id)
{
        struct own own = read_sandbox(&h->source.cmdline);
        _cleanup_free_ char *modules = NULL;
        uint64_t no_new_privs = 0;

        process_status_number(&h->source.process, "NoNewPrivs", 10, &no_new_privs);
        if (no_new_privs && !own.no_new_privs &&
            file_read(-1, "/sys/kernel/security/lsm", 4096, &modules, NULL) >= 0 &&
            strstr(modules, "landlock"))
                return finding_warn(
                        fs, id, "if it has put one on QEMU, confine QEMU by other means too",
                        "whoever started the source has set no_new_privs: a Landlock domain, if there is "
                        "one, cannot be seen, and the destination will not be in it");
        finding_pass(fs, id, "nothing hints at a Landlock domain");
}

/* On exec the destination gets its user's capabilities: all for root, the ambient ones for others. */
void check_capabilities(struct handoff *h, struct findings *fs, const char *id)
{
        uint64_t permitted = 0, ambient = 0, bounding = 0, lost;

        process_status_number(&h->source.process, "CapPrm", 16, &permitted);
        process_status_number(&h->source.process, "CapAmb", 16, &ambient);
        process_status_number(&h->source.process, "CapBnd", 16, &bounding);
        lost = h->facts.source.uid == 0 && permitted == bounding ? 0 : permitted & ~ambient;
        if (lost)
                return finding_warn(
                        fs, id, "start the VM with them as ambient capabilities",
                        "the source has kept capabilities (%#llx) that the destination will not have",
                        (unsigned long long)lost);
        finding_pass(fs, id, "the destination has those of the source");
}
