/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/pidfile.h"

#include "handoff/rights.h"

#include <fcntl.h>
#include <sys/stat.h>

static char *name_beside(const struct handoff *h, const char *path)
{
        return text_print("%s.cprd-%s", path, h->order.id);
}

/* Whether the source's user may make files where @path is. */
static bool may_write_beside(const struct handoff *h, const char *path)
{
        _cleanup_free_ char *directory = text_copy(path);
        bool may;

        *(strrchr(directory, '/') + 1) = '\0';
        rights_of_source(h);
        may = faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0;
        rights_own();
        return may;
}

void check_pidfile(struct handoff *h, struct findings *fs, const char *id)
{
        const char *path = h->destination.cmdline_facts.pidfile;
        _cleanup_free_ char *inside = path ? text_print("root%s", path) : NULL;
        struct stat seen, ours;

        if (!path)
                return finding_pass(fs, id, "the VM has no pidfile");
        if (fstatat(h->source.process.proc_fd, inside, &seen, AT_SYMLINK_NOFOLLOW) < 0 ||
            lstat(path, &ours) < 0 || seen.st_dev != ours.st_dev || seen.st_ino != ours.st_ino ||
            !S_ISREG(ours.st_mode))
                return finding_block(
                        fs, id,
                        "put it where VM and host see the same file, by its own name, and restart "
                        "the VM",
                        "%s is not one regular file for the source and for this host", path);
        if (!may_write_beside(h, path))
                return finding_block(
                        fs, id, "put it in a directory that the VM's user may write to",
                        "the destination could not make a file beside %s: it runs as the user %u", path,
                        (unsigned)h->facts.source.uid);
        finding_pass(fs, id, "%s will have the destination's pid", path);
}

void pidfile_recover(struct handoff *h)
{
        if (h->facts.pidfile)
                h->destination.cmdline_facts.pidfile = text_copy(h->facts.pidfile);
}

int pidfile_make(struct handoff *h, struct failure *f)
{
        const char *path = h->destination.cmdline_facts.pidfile;

        if (!path)
                return 0;
        free(h->facts.pidfile);
        h->facts.pidfile = text_copy(path);
        return handoff_note(h, "pidfile", f);
}

/* No-op if it has been done. */
int pidfile_publish(struct handoff *h, struct failure *f)
{
        const char *path = h->destination.cmdline_facts.pidfile;
        _cleanup_free_ char *beside = path ? name_beside(h, path) : NULL;
        int r = 0;

        if (!path)
                return 0;
        rights_of_source(h);
        if (rename(beside, path) < 0 && errno != ENOENT)
                r = -errno;
        rights_own();
        return r < 0 ? failure_set(f, r, "cannot rename %s to %s: %s", beside, path, strerror(-r)) : 0;
}

void pidfile_remove(struct handoff *h)
{
        const char *path = h->destination.cmdline_facts.pidfile;
        _cleanup_free_ char *beside = path ? name_beside(h, path) : NULL;

        /* Noted: a destination has been, or is about to be, launched. */
        if (!path || !h->facts.pidfile || h->facts.committed)
                return;
        rights_of_source(h);
        unlink(beside);
        rights_own();
}
