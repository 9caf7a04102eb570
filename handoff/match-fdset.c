/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/file.h"
#include "handoff/match.h"

/* What is in the sets, the caller's: "SET opaque file; …", in QEMU's order. A number says nothing across
 * processes. */
static char *describe(json_object *sets, const struct process *p)
{
        char *text = text_copy("");

        for (size_t i = 0; i < json_object_array_length(sets); i++) {
                json_object *set = json_object_array_get_idx(sets, i), *fds = json_arr(set, "fds");

                for (size_t j = 0; fds && j < json_object_array_length(fds); j++) {
                        json_object *fd = json_object_array_get_idx(fds, j);
                        _cleanup_free_ char *before = text,
                                            *path = text_print("fd/%d", (int)json_int(fd, "fd", -1));
                        char file[FILE_IDENTITY_MAX] = "?";

                        file_identity(p->proc_fd, path, file);
                        text = text_print("%s%d %s %s; ", before, (int)json_int(set, "fdset-id", -1),
                                          json_str(fd, "opaque") ?: "-", file);
                }
        }
        return text;
}

int match_fdsets(struct match *m, struct failure *f)
{
        _cleanup_free_ char *x = NULL, *y = NULL;
        json_object *a, *b;

        if (!match_answers(m, MATCH_FDSETS, json_type_array, &a, &b))
                return 0;
        x = describe(a, &m->h->source.process);
        y = describe(b, &m->h->destination.process);
        if (!STREQ(x, y))
                match_differs(m, "fdset", "hand off again: an fd was added or removed meanwhile",
                              "the fds in sets are %s in the source and %s in the destination",
                              *x ? x : "none", *y ? y : "none");
        return 0;
}
