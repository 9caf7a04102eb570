/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/channels.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CPR  "cpr"
#define MAIN "main"

static char *path_of(const struct channels *c, const char *name)
{
        return text_print("%s/%s", c->directory, name);
}

char *channels_main_path(const struct channels *c)
{
        return path_of(c, MAIN);
}

char *channels_cpr_path(const struct channels *c)
{
        return path_of(c, CPR);
}

void channels_init(struct channels *c, const char *directory)
{
        *c = (struct channels){.directory = text_print("%s/channel", directory)};
}

void channels_done(struct channels *c)
{
        free(c->directory);
        *c = (struct channels){};
}

int channels_make(const struct channels *c, uid_t uid, gid_t gid, struct failure *f)
{
        /* The guest's memory goes through it. */
        if ((mkdir(c->directory, 0700) < 0 && errno != EEXIST) || lchown(c->directory, uid, gid) < 0)
                return failure_set(f, errno, "cannot make the channels in %s: %s", c->directory,
                                   strerror(errno));
        return 0;
}

void channels_remove(const struct channels *c)
{
        /* The VM's user may put anything there. A name below a directory that is held open leads nowhere
         * else. */
        _cleanup_close_ int fd = open(c->directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (fd >= 0) {
                unlinkat(fd, CPR, 0);
                unlinkat(fd, MAIN, 0);
        }
        rmdir(c->directory);
}

static bool binds(const struct channels *c, struct tracee *t, const char *name, uint64_t argument)
{
        _cleanup_free_ char *path = path_of(c, name);
        struct sockaddr_un address = {};
        size_t size = offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1;

        return size <= sizeof(address) && tracee_read(t, argument, &address, size) >= 0 &&
               address.sun_family == AF_UNIX && STREQ(address.sun_path, path);
}

static void note_entry(struct channels *c, struct tracee *t, const struct tracee_call *call)
{
        c->in_listen = call->nr == SYS_listen && c->cpr_bound;
        if (call->nr != SYS_bind)
                return;
        c->cpr_bound = c->cpr_bound || binds(c, t, CPR, call->arguments[1]);
        c->main_bound = c->main_bound || binds(c, t, MAIN, call->arguments[1]);
}

void channels_note(struct channels *c, struct tracee *t, const struct tracee_call *call)
{
        if (call->entering)
                note_entry(c, t, call);
        else
                c->cpr_listens = c->cpr_listens || (c->in_listen && !call->failed);
}
