/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/fdset.h"

#include "handoff/optstr.h"
#include "handoff/wait.h"

static int add_fd(struct handoff *h, int64_t set, json_object *fd, struct failure *f)
{
        struct cmdline_facts *facts = &h->destination.cmdline_facts;
        int number = FD_FDSETS + (int)facts->n_fdset;
        _cleanup_free_ char *value = text_print("fd=%d,set=%lld", number, (long long)set), *named = NULL;
        const char *opaque = json_str(fd, "opaque");

        if (facts->n_fdset == FDSETS_MAX)
                return failure_set(f, E2BIG, "the source has more than %d fds in sets", FDSETS_MAX);
        facts->fdset_fds[facts->n_fdset++] = (int)json_int(fd, "fd", -1);
        named = opaque ? optstr_with(value, "opaque", opaque) : NULL;
        cmdline_add(&h->destination.cmdline, "-add-fd");
        cmdline_add(&h->destination.cmdline, named ?: value);
        return 0;
}

static int add_set(struct handoff *h, json_object *set, struct failure *f)
{
        json_object *fds = json_arr(set, "fds");
        int64_t id = json_int(set, "fdset-id", -1);
        int r = fds && id >= 0 ? 0 : failure_set(f, EBADMSG, "QMP query-fdsets: it answers strangely");

        for (size_t i = 0; r >= 0 && i < json_object_array_length(fds); i++)
                r = add_fd(h, id, json_object_array_get_idx(fds, i), f);
        return r;
}

int fdset_take(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *sets = NULL;
        int r = wait_qmp(h, h->source.qmp, "query-fdsets", NULL, &sets, f);

        if (r >= 0 && !json_object_is_type(sets, json_type_array))
                r = failure_set(f, EBADMSG, "QMP query-fdsets: that is no list");
        for (size_t i = 0; r >= 0 && i < json_object_array_length(sets); i++)
                r = add_set(h, json_object_array_get_idx(sets, i), f);
        return r;
}

int fdset_inherit(struct handoff *h, struct inheritance *in, struct failure *f)
{
        const struct cmdline_facts *facts = &h->destination.cmdline_facts;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < facts->n_fdset; i++)
                r = inherit_from_source(h, in, facts->fdset_fds[i], FD_FDSETS + (int)i, "fd set", f);
        return r;
}
