/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

/*
 * HMP `info ramblock` (ram_block_format() of QEMU): each RAM block that a migration would move, by the name
 * that its state goes by. In columns, the first line has their names:
 *
 *       Block Name    PSize              Offset               Used              Total                HVA  RO
 *             ram0    4 KiB  0x0000000000000000 0x0000000008000000 0x0000000008000000 0x00007f2c5ffff000  rw
 */

#define WORDS_MAX 16

enum { WORDS_AFTER_NAME = 7, TOTAL_FROM_RIGHT = 3 }; /* "4 KiB" are two words */

/* {NAME: total size as text}; the caller's. A block without a name is not migrated. */
static json_object *read_blocks(const char *text)
{
        _cleanup_free_ char *copy = strdup(text);
        json_object *blocks = json_object_new_object();
        char *lines = NULL;

        if (!copy)
                abort();
        for (char *line = strtok_r(copy, "\r\n", &lines); line; line = strtok_r(NULL, "\r\n", &lines)) {
                char *rest = NULL, *words[WORDS_MAX];
                size_t n = 0;

                for (char *w = strtok_r(line, " ", &rest); w && n < WORDS_MAX; w = strtok_r(NULL, " ", &rest))
                        words[n++] = w;
                if (n > WORDS_AFTER_NAME && strncmp(words[n - TOTAL_FROM_RIGHT], "0x", 2) == 0)
                        json_add_str(blocks, words[0], words[n - TOTAL_FROM_RIGHT]);
        }
        return blocks;
}

static const char remedy[] = "restart the VM with the memory and the devices that it has now";

static void compare_blocks(struct match *m, json_object *source, json_object *destination)
{
        json_object_object_foreach (source, name, size) {
                const char *x = json_object_get_string(size), *y = json_str(destination, name);

                if (!y)
                        match_differs(m, "memory", remedy, "RAM block %s is in the source only", name);
                else if (!STREQ(x, y))
                        match_differs(
                                m, "memory", remedy,
                                "RAM block %s has a size of %s in the source and of %s in the destination",
                                name, x, y);
        }
        json_object_object_foreach (destination, extra, unused) {
                if (unused && !json_str(source, extra))
                        match_differs(m, "memory", remedy, "RAM block %s is in the destination only", extra);
        }
}

int match_memory(struct match *m, struct failure *f)
{
        _cleanup_json_ json_object *source = NULL, *destination = NULL;
        json_object *a, *b;

        if (!match_answers(m, MATCH_RAM_BLOCKS, json_type_string, &a, &b))
                return 0;
        source = read_blocks(json_object_get_string(a));
        destination = read_blocks(json_object_get_string(b));
        if (!json_object_object_length(source))
                return failure_set(f, EBADMSG, "cannot read the source's list of RAM blocks");
        compare_blocks(m, source, destination);
        return 0;
}
