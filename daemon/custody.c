/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/custody.h"

#include "common/log.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>

static const char *const kind_names[_CUSTODY_KIND_MAX] = {
        [CUSTODY_SOURCE] = "source",
        [CUSTODY_DESTINATION] = "destination",
        [CUSTODY_DEVICE] = "device",
};

#define STORE_NAME_MAX 64

static void store_name(const struct custody *c, const struct kept *k, char name[static STORE_NAME_MAX])
{
        snprintf(name, STORE_NAME_MAX, "%s-%s-%" PRIu64, kind_names[k->kind], c->id, k->value);
}

/* FDPOLL=0: otherwise the manager would drop a pidfd from the store when its process exits, which is just
 * when it is needed. */
static void store_add(const struct custody *c, const struct kept *k)
{
        char name[STORE_NAME_MAX], state[STORE_NAME_MAX + 32];
        int r;

        store_name(c, k, name);
        snprintf(state, sizeof(state), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
        r = sd_pid_notify_with_fds(0, false, state, &k->fd, 1);
        if (r < 0)
                log_warning("cannot put %s into the fd store; a restart of cprd would lose it: %s", name,
                            strerror(-r));
}

static void store_remove(const char *name)
{
        sd_notifyf(false, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

void custody_init(struct custody *c, const char *id)
{
        *c = (struct custody){};
        snprintf(c->id, sizeof(c->id), "%s", id);
}

static struct kept *find(struct custody *c, enum custody_kind kind, uint64_t value)
{
        for (size_t i = 0; i < c->n; i++)
                if (c->kept[i].kind == kind && c->kept[i].value == value)
                        return &c->kept[i];
        return NULL;
}

int custody_keep(struct custody *c, enum custody_kind kind, uint64_t value, int fd, struct failure *f)
{
        struct kept *k = find(c, kind, value);

        if (k) {
                char name[STORE_NAME_MAX];

                store_name(c, k, name);
                store_remove(name);
                close_fd(k->fd);
        } else if (c->n == CUSTODY_MAX) {
                close_fd(fd);
                return failure_set(f, ENOSPC, "more than %d fds to keep for one handoff", CUSTODY_MAX);
        } else {
                k = &c->kept[c->n++];
        }
        *k = (struct kept){.kind = kind, .value = value, .fd = fd};
        store_add(c, k);
        return 0;
}

int custody_get(const struct custody *c, enum custody_kind kind)
{
        for (size_t i = 0; i < c->n; i++)
                if (c->kept[i].kind == kind)
                        return c->kept[i].fd;
        return -EBADF;
}

void custody_drop(struct custody *c)
{
        for (size_t i = 0; i < c->n; i++) {
                char name[STORE_NAME_MAX];

                store_name(c, &c->kept[i], name);
                store_remove(name);
        }
        custody_done(c);
}

void custody_done(struct custody *c)
{
        for (size_t i = 0; i < c->n; i++)
                close_fd(c->kept[i].fd);
        c->n = 0;
}

/* KIND-ID-VALUE, nothing else. */
static bool name_parse(const char *name, const char *id, enum custody_kind *ret_kind, uint64_t *ret_value)
{
        for (size_t kind = 0; kind < _CUSTODY_KIND_MAX; kind++) {
                char prefix[STORE_NAME_MAX];
                size_t n = (size_t)snprintf(prefix, sizeof(prefix), "%s-%s-", kind_names[kind], id);
                char *end;

                if (strncmp(name, prefix, n) != 0 || name[n] < '0' || name[n] > '9')
                        continue;
                errno = 0;
                *ret_value = strtoull(name + n, &end, 10);
                *ret_kind = (enum custody_kind)kind;
                return errno == 0 && *end == '\0';
        }
        return false;
}

int custody_take_back(struct custody *c, const char *name, int fd)
{
        enum custody_kind kind;
        uint64_t value;

        if (c->n == CUSTODY_MAX || !name_parse(name, c->id, &kind, &value) || find(c, kind, value))
                return 0;
        c->kept[c->n++] = (struct kept){.kind = kind, .value = value, .fd = fd};
        return 1;
}

void custody_forget(const char *name, int fd)
{
        store_remove(name);
        close_fd(fd);
}
