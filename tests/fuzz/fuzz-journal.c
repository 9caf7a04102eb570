/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal of a handoff, as a crash or a stranger may have left it. A recovery appends to it. */
#include "common/journal.h"
#include "fuzz.h"

static size_t read_all(struct journal *j)
{
        struct failure f = {};
        json_object *line;
        size_t n = 0;

        while (journal_next(j, &line, &f) > 0) {
                json_str(line, "record");
                json_object_put(line);
                n++;
        }
        return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(journal_freep) struct journal *j = NULL;
        struct failure f = {};

        if (journal_open(fuzz_memory_file(data, size), true, &j, &f) < 0)
                return 0;
        read_all(j);
        journal_has_more(j);
        journal_append(j, "fact", json_object_new_object());
        read_all(j);
        return 0;
}
