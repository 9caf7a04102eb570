/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/listeners.h"

#include "handoff/rights.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

_Static_assert(LISTENER_NAME_MAX == sizeof(((struct sockaddr_un *)NULL)->sun_path), "sun_path");

int listener_name(const struct handoff *h, const struct vm_socket *l, char name[static LISTENER_NAME_MAX])
{
        int n = snprintf(name, LISTENER_NAME_MAX, "%s.cprd-%s", l->path, h->order.id);

        return n < 0 || n >= LISTENER_NAME_MAX ? -ENAMETOOLONG : 0;
}

/* A socket that nobody else can have touched yet: created with @mode, not changed to it afterwards. */
static int bind_socket(const struct handoff *h, const char *name, mode_t mode)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        mode_t mask;
        int r;

        if (fd < 0)
                return -errno;
        strcpy(address.sun_path, name);
        rights_of_source(h);
        mask = umask(~mode & 0777);
        unlink(name); /* named after this handoff: only an earlier try of it can have left one */
        r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        umask(mask);
        rights_own();
        if (r < 0)
                close(fd);
        return r < 0 ? r : fd;
}

/* The directory is the source's user's, who may have put a link to somebody else's socket in its place. */
int listener_give_owner(const char *name, uid_t made_by, const struct stat *old)
{
        _cleanup_close_ int fd = open(name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        struct stat fresh;

        if (fd < 0 || fstat(fd, &fresh) < 0)
                return -errno;
        if (!S_ISSOCK(fresh.st_mode))
                return -ENOTSOCK;
        if (fresh.st_uid != made_by || fresh.st_nlink != 1)
                return -EPERM;
        if (fresh.st_uid == old->st_uid && fresh.st_gid == old->st_gid)
                return 0;
        return fchownat(fd, "", old->st_uid, old->st_gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int make_listener(struct handoff *h, struct vm_socket *l, struct failure *f)
{
        char name[LISTENER_NAME_MAX];
        struct stat old = {};
        int r = listener_name(h, l, name);

        if (r >= 0 && (lstat(l->path, &old) < 0 || !S_ISSOCK(old.st_mode)))
                r = -ENOTSOCK;
        if (r < 0)
                return failure_set(f, r, "cannot make a socket beside %s: %s", l->path, strerror(-r));
        r = l->fd = bind_socket(h, name, old.st_mode & 0777);
        if (r >= 0)
                r = listener_give_owner(name, (uid_t)h->facts.source.uid, &old);
        if (r >= 0)
                return 0;
        failure_set(f, r, "cannot make the socket %s: %s", name, strerror(-r));
        return failure_remedy(f, "let the VM's sockets be in a directory that its user may write to");
}

void listeners_recover(struct handoff *h)
{
        struct cmdline_facts *facts = &h->destination.cmdline_facts;
        json_object *paths = h->facts.listeners;

        if (!json_object_is_type(paths, json_type_array))
                return;
        for (size_t i = 0; i < json_object_array_length(paths) && i < LISTENERS_MAX; i++) {
                const char *path = json_object_get_string(json_object_array_get_idx(paths, i));

                if (path)
                        facts->listeners[facts->n_listeners++] =
                                (struct vm_socket){.path = text_copy(path), .fd = -EBADF};
        }
}

int listeners_make(struct handoff *h, struct failure *f)
{
        struct cmdline_facts *facts = &h->destination.cmdline_facts;
        json_object *paths = json_object_new_array();
        int r;

        for (size_t i = 0; i < facts->n_listeners; i++)
                json_object_array_add(paths, json_object_new_string(facts->listeners[i].path));
        json_object_put(h->facts.listeners);
        h->facts.listeners = paths;
        r = handoff_note(h, "listeners", f);
        for (size_t i = 0; r >= 0 && i < facts->n_listeners; i++)
                r = make_listener(h, &facts->listeners[i], f);
        return r;
}

int listeners_inherit(struct handoff *h, struct inheritance *in, struct failure *f)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < facts->n_listeners; i++)
                r = inherit_add(in, facts->listeners[i].fd, facts->listeners[i].fd_number, f);
        return r;
}

void listeners_listen(const struct cmdline_facts *facts)
{
        for (size_t i = 0; i < facts->n_listeners; i++)
                listen(facts->listeners[i].fd_number, 8);
}

int listeners_publish(struct handoff *h, struct failure *f)
{
        for (size_t i = 0; i < h->destination.cmdline_facts.n_listeners; i++) {
                const struct vm_socket *l = &h->destination.cmdline_facts.listeners[i];
                char name[LISTENER_NAME_MAX];
                int r = listener_name(h, l, name);

                rights_of_source(h);
                if (r >= 0 && rename(name, l->path) < 0 && errno != ENOENT)
                        r = -errno;
                rights_own();
                if (r < 0)
                        return failure_set(f, r, "cannot rename %s to %s: %s", name, l->path, strerror(-r));
        }
        return 0;
}

void listeners_close(struct handoff *h)
{
        for (size_t i = 0; i < h->destination.cmdline_facts.n_listeners; i++)
                h->destination.cmdline_facts.listeners[i].fd =
                        close_fd(h->destination.cmdline_facts.listeners[i].fd);
}

void listeners_remove(struct handoff *h)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;

        listeners_close(h);
        /* Those of a committed destination are its only way to the world, published or not. */
        if (!h->facts.listeners || h->facts.committed)
                return;
        rights_of_source(h);
        for (size_t i = 0; i < facts->n_listeners; i++) {
                char name[LISTENER_NAME_MAX];

                if (listener_name(h, &facts->listeners[i], name) >= 0)
                        unlink(name);
        }
        rights_own();
}
