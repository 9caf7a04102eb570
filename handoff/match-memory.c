/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"
#include "handoff/memfile.h"

/*
 * HMP `info ramblock` (ram_block_format() of QEMU): each RAM block that a migration would move, by the name
 * that its state goes by. In columns, the first line has their names:
 *
 *       Block Name    PSize              Offset               Used              Total                HVA  RO
 *             ram0    4 KiB  0x0000000000000000 0x0000000008000000 0x0000000008000000 0x00007f2c5ffff000  rw
 */

#define WORDS_MAX 16

enum {
        WORDS_AFTER_NAME = 7,
        TOTAL_FROM_RIGHT = 3,
        HVA_FROM_RIGHT = 2,
        RO_FROM_RIGHT = 1
}; /* "4 KiB" are two */

/* {NAME: {"total": text, "at": text, "mode": text}}; the caller's. A block without a name is not migrated. */
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
                        json_add(blocks, words[0],
                                 qmp_arguments("total", words[n - TOTAL_FROM_RIGHT], "at",
                                               words[n - HVA_FROM_RIGHT], "mode", words[n - RO_FROM_RIGHT],
                                               NULL));
        }
        return blocks;
}

static const char remedy[] = "restart the VM with the memory and the devices that it has now";

static void compare_blocks(struct match *m, json_object *source, json_object *destination)
{
        json_object_object_foreach (source, name, size) {
                const char *x = json_str(size, "total"), *y = json_str(json_obj(destination, name), "total");

                if (!y)
                        match_differs(m, "memory", remedy, "RAM block %s is in the source only", name);
                else if (!STREQ(x, y))
                        match_differs(
                                m, "memory", remedy,
                                "RAM block %s has a size of %s in the source and of %s in the destination",
                                name, x, y);
        }
        json_object_object_foreach (destination, extra, unused) {
                if (unused && !json_obj(source, extra))
                        match_differs(m, "memory", remedy, "RAM block %s is in the destination only", extra);
        }
}

/* ---- the files that they are in ---- */

static int read_maps(const struct process *p, char **ret, struct failure *f)
{
        int r = process_read(p, "maps", 4U << 20, ret, NULL);

        return r < 0 ? failure_set(f, r, "cannot see the memory of process %d: %s", p->pid, strerror(-r)) : 0;
}

static void place_of(const struct process *p, const char *maps, json_object *block,
                     char place[static MEMFILE_PLACE_MAX])
{
        memfile_at(p, maps, strtoull(json_str(block, "at") ?: "0", NULL, 16), place);
}

/* No memory is sent: each block is the same piece of the same file in both, or the guest's memory is lost.
 * One that nobody writes to may be each one's own. */
static int compare_files(struct match *m, json_object *source, json_object *destination, struct failure *f)
{
        const struct process *a = &m->h->source.process, *b = &m->h->destination.process;
        _cleanup_free_ char *maps_of_source = NULL, *maps_of_destination = NULL;
        int r = read_maps(a, &maps_of_source, f);

        if (r >= 0)
                r = read_maps(b, &maps_of_destination, f);
        if (r < 0)
                return r;
        json_object_object_foreach (source, name, block) {
                json_object *other = json_obj(destination, name);
                char here[MEMFILE_PLACE_MAX], there[MEMFILE_PLACE_MAX];

                if (!other)
                        continue;
                place_of(a, maps_of_source, block, here);
                place_of(b, maps_of_destination, other, there);
                if (STREQ(here, there) && (*here || STREQ(json_str(block, "mode") ?: "", "ro")))
                        continue;
                match_differs(
                        m, "memory", "start the VM with memory-backend-memfd",
                        "RAM block %s is in file %s in the source and in %s in the destination: what the "
                        "guest has in it would be lost",
                        name, *here ? here : "none", *there ? there : "none");
        }
        return 0;
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
        return compare_files(m, source, destination, f);
}
