/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/qdict.h"

#include <fcntl.h>
#include <limits.h>

#define CHUNK (1UL << 20)
#define ALIGN 16 /* of what malloc(3) returns */

unsigned qdict_bucket(const char *key)
{
        uint32_t value = 0x238f13afU * (uint32_t)strlen(key);

        for (unsigned i = 0; key[i]; i++)
                value += (uint32_t)(unsigned char)key[i] << (i * 5 % 24);
        return (1103515243U * value + 12345U) % QDICT_BUCKETS;
}

/* A process's memory, of which only what is there is read: to read a page that nobody has touched would make
 * one, in a process that is not ours. */
struct memory {
        int mem, pagemap; /* owned: of /proc/PID; proc_pid_pagemap(5) */
        uint64_t page;    /* the size of one */
        char *buffer;     /* owned */
        uint64_t left;    /* bytes that may still be looked through */
        unsigned looks;   /* that may still be had at what may be a QDict */
};

#define PAGEMAP_THERE (3ULL << 62) /* present, or swapped */

static bool is_there(const struct memory *m, uint64_t address)
{
        uint64_t entry;

        return address <= INT64_MAX &&
               pread(m->pagemap, &entry, sizeof(entry), (off_t)(address / m->page * sizeof(entry))) ==
                       sizeof(entry) &&
               entry & PAGEMAP_THERE;
}

/* As much of @size as is on one page. Returns how much that is; 0: it is not there. */
static size_t read_some(const struct memory *m, uint64_t address, void *buffer, size_t size)
{
        uint64_t left = m->page - address % m->page;
        ssize_t n =
                is_there(m, address) ? pread(m->mem, buffer, size < left ? size : left, (off_t)address) : 0;

        return n > 0 ? (size_t)n : 0;
}

static bool read_at(const struct memory *m, uint64_t address, void *buffer, size_t size)
{
        for (size_t done = 0, n; done < size; done += n) {
                n = read_some(m, address + done, (char *)buffer + done, size - done);
                if (!n)
                        return false;
        }
        return true;
}

/* NULL: it does not end, or there is none. The caller's. */
static char *read_string(const struct memory *m, uint64_t address)
{
        char text[PATH_MAX];

        for (size_t done = 0, n; done < sizeof(text); done += n) {
                n = read_some(m, address + done, text + done, sizeof(text) - done);
                if (!n)
                        return NULL;
                if (memchr(text + done, '\0', n))
                        return text_copy(text);
        }
        return NULL;
}

static json_object *read_value(const struct memory *m, uint64_t address)
{
        _cleanup_free_ char *text = NULL;
        struct qdict_value v;

        /* The smallest of them ends with its first member. */
        if (!read_at(m, address, &v, offsetof(struct qdict_value, number)))
                return NULL;
        if (v.base.type == QDICT_BOOL)
                return json_object_new_boolean(v.boolean);
        if (v.base.type == QDICT_NUMBER)
                return v.kind == 0 && read_at(m, address, &v, sizeof(v)) ? json_object_new_int64(v.number)
                                                                         : NULL;
        text = v.base.type == QDICT_STRING ? read_string(m, v.string) : NULL;
        return text ? json_object_new_string(text) : NULL;
}

/* Adds the entries of one bucket. False: it is no QDict's. */
static bool read_bucket(const struct memory *m, uint64_t first, unsigned bucket, json_object *members)
{
        struct qdict_entry e = {.next = first};

        while (e.next) {
                _cleanup_free_ char *key = NULL;

                if (json_object_object_length(members) >= QDICT_MEMBERS_MAX ||
                    !read_at(m, e.next, &e, sizeof(e)))
                        return false;
                key = read_string(m, e.key);
                if (!key || qdict_bucket(key) != bucket || json_object_object_get_ex(members, key, NULL))
                        return false;
                json_object_object_add(members, key, read_value(m, e.value));
        }
        return true;
}

static bool may_be(const struct qdict *q)
{
        size_t n = 0;

        if (q->base.type != QDICT_DICTIONARY || q->base.references == 0 || q->base.references > UINT16_MAX ||
            q->size == 0 || q->size > QDICT_MEMBERS_MAX)
                return false;
        for (size_t i = 0; i < QDICT_BUCKETS; i++)
                n += q->table[i] != 0;
        return n > 0 && n <= q->size;
}

static void look_at(struct memory *m, const struct qdict *q, json_object *found)
{
        _cleanup_json_ json_object *members = NULL;

        if (!may_be(q) || !m->looks || json_object_array_length(found) >= QDICT_FOUND_MAX)
                return;
        m->looks--;
        members = mem_check(json_object_new_object());
        for (unsigned i = 0; i < QDICT_BUCKETS; i++)
                if (!read_bucket(m, q->table[i], i, members))
                        return;
        if ((uint64_t)json_object_object_length(members) == q->size && json_str(members, "driver"))
                json_object_array_add(found, TAKE_PTR(members));
}

static void look_through(struct memory *m, uint64_t from, uint64_t to, json_object *found)
{
        struct qdict q;

        for (; from < to && m->left > 0; from += CHUNK) {
                /* One that begins at the end of a chunk ends in the next. */
                size_t size = to - from < CHUNK + sizeof(q) ? to - from : CHUNK + sizeof(q);
                ssize_t n = pread(m->mem, m->buffer, size, (off_t)from);

                m->left -= size < m->left ? size : m->left;
                for (ssize_t at = 0; at + (ssize_t)sizeof(q) <= n && at < (ssize_t)CHUNK; at += ALIGN) {
                        if (m->buffer[at] != QDICT_DICTIONARY)
                                continue;
                        memcpy(&q, m->buffer + at, sizeof(q));
                        look_at(m, &q, found);
                }
        }
}

static void look_at_mapping(struct memory *m, uint64_t from, uint64_t to, json_object *found)
{
        size_t n = (to - from) / m->page, begin = 0;
        _cleanup_free_ uint64_t *pages = mem_new(n + 1, sizeof(*pages));
        ssize_t size = pread(m->pagemap, pages, n * sizeof(*pages), (off_t)(from / m->page * sizeof(*pages)));

        n = size > 0 ? (size_t)size / sizeof(*pages) : 0;
        for (size_t i = 0; i <= n; i++) {
                if (i < n && pages[i] & PAGEMAP_THERE)
                        continue;
                if (begin < i)
                        look_through(m, from + begin * m->page, from + i * m->page, found);
                begin = i + 1;
        }
}

static void memory_done(struct memory *m)
{
        close_fd(m->mem);
        close_fd(m->pagemap);
        free(m->buffer);
}

int qdict_read(const struct process *p, json_object **ret)
{
        _cleanup_(memory_done) struct memory m = {
                .mem = openat(p->proc_fd, "mem", O_RDONLY | O_CLOEXEC),
                .pagemap = openat(p->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC),
                .page = (uint64_t)sysconf(_SC_PAGESIZE),
                .buffer = mem_new(1, CHUNK + sizeof(struct qdict)),
                .left = QDICT_MEMORY_MAX,
                .looks = QDICT_LOOKS_MAX,
        };
        _cleanup_free_ char *maps = NULL;
        json_object *found;
        int r;

        if (m.mem < 0 || m.pagemap < 0)
                return -EACCES;
        r = process_read(p, "maps", 4U << 20, &maps, NULL);
        if (r < 0)
                return r;
        found = mem_check(json_object_new_array());
        for (const char *line = maps; *line; line += strcspn(line, "\n"), line += *line == '\n') {
                unsigned long from, to, inode;
                char mode[8];

                if (sscanf(line, "%lx-%lx %7s %*s %*s %lu", &from, &to, mode, &inode) == 4 &&
                    strncmp(mode, "rw", 2) == 0 && mode[3] == 'p' && inode == 0 &&
                    to - from <= QDICT_MAPPING_MAX)
                        look_at_mapping(&m, from, to, found);
        }
        *ret = found;
        return 0;
}
