/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/credentials.h"

static const char *const keys[] = {"Uid:", "Gid:", "Groups:", "CapInh:", "CapPrm:", "CapEff:", "CapAmb:"};

static const char *find_line(const char *status, const char *key)
{
        for (const char *line = status; line && *line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, strlen(key)) == 0)
                        return line;
        }
        return "";
}

static char *credentials_of(const char *status)
{
        char *text = text_copy("");

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                const char *line = find_line(status, keys[i]);
                char *longer = text_print("%s%.*s\n", text, (int)strcspn(line, "\n"), line);

                free(text);
                text = longer;
        }
        return text;
}

/* Whether the real, effective and saved id are one. The fourth, for files, is one that QEMU's threads change.
 */
static bool is_one_user(const char *status, const char *key)
{
        unsigned real, effective, saved;

        return sscanf(find_line(status, key) + strlen(key), "%u %u %u", &real, &effective, &saved) == 3 &&
               real == effective && real == saved;
}

int credentials_read(const struct process *p, char **ret, struct failure *f)
{
        _cleanup_free_ char *status = NULL;
        int r = process_read(p, "status", 65536, &status, NULL);

        if (r < 0)
                return failure_set(f, r, "cannot see whose process %d is: %s", p->pid, strerror(-r));
        if (!*find_line(status, "Uid:") || !*find_line(status, "Gid:"))
                return failure_set(f, EBADMSG, "cannot see whose process %d is", p->pid);
        if (!is_one_user(status, "Uid:") || !is_one_user(status, "Gid:")) {
                failure_set(f, EPERM, "process %d has the rights of another user than its own", p->pid);
                return failure_remedy(f, "register a QEMU that was not started by a set-user-ID program");
        }
        *ret = credentials_of(status);
        return 0;
}

int credentials_require(const char *status, const char *before, struct failure *f)
{
        _cleanup_free_ char *now = credentials_of(status);

        if (before && STREQ(now, before))
                return 0;
        failure_set(f, EPERM, "the source has other rights than when it was checked");
        return failure_remedy(f, "see what its user has made it execute");
}
