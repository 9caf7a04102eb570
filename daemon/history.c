/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/history.h"

#include "common/file.h"
#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/printbuf.h>

#define RECORD_MAX (256U << 10) /* bytes of one file */
#define REPLY_MAX  (768U << 10) /* bytes of one reply; clients accept messages of 1 MiB */

struct history_entry {
        uint64_t usec; /* CLOCK_REALTIME */
        char id[16], name[64];
        bool is_sound; /* its file has been checked */
};

static char *entry_path(const struct history *h, const struct history_entry *e)
{
        return file_path(h->directory, "%017" PRIu64 "-%s-%s.json", e->usec, e->id, e->name);
}

/* TIME-ID-NAME.json; an id has no hyphen, but a name may. */
static bool entry_parse(const char *file, struct history_entry *ret)
{
        char name[sizeof(ret->name) + 8];
        char *suffix;
        int end = 0;

        if (sscanf(file, "%17" SCNu64 "-%15[0-9a-z]-%71s%n", &ret->usec, ret->id, name, &end) != 3 ||
            file[end])
                return false;
        suffix = strrchr(name, '.');
        if (!suffix || !STREQ(suffix, ".json"))
                return false;
        *suffix = '\0';
        snprintf(ret->name, sizeof(ret->name), "%s", name);
        return name_is_valid(name);
}

static struct history_entry *append(struct history *h)
{
        if (h->n == h->room) {
                h->room = h->room ? 2 * h->room : 64;
                h->entries = mem_resize(h->entries, h->room * sizeof(*h->entries));
        }
        return &h->entries[h->n++];
}

static void remove_oldest(struct history *h)
{
        size_t gone = h->n > h->limit ? h->n - h->limit : 0;

        for (size_t i = 0; i < gone; i++) {
                _cleanup_free_ char *path = entry_path(h, &h->entries[i]);

                unlink(path);
        }
        h->n -= gone;
        if (gone)
                memmove(h->entries, h->entries + gone, h->n * sizeof(*h->entries));
}

static int compare(const void *a, const void *b)
{
        const struct history_entry *x = a, *y = b;

        return x->usec != y->usec ? (x->usec < y->usec ? -1 : 1) : strcmp(x->id, y->id);
}

int history_init(struct history *h, const char *state, int64_t limit, struct failure *f)
{
        struct history_entry one = {};
        struct dirent *entry;
        DIR *dir;

        *h = (struct history){.directory = file_path(state, "history"), .limit = (size_t)limit};
        dir = opendir(h->directory);
        if (!dir)
                return failure_set(f, errno, "cannot read %s: %s", h->directory, strerror(errno));
        while ((entry = readdir(dir)))
                if (entry_parse(entry->d_name, &one))
                        *append(h) = one;
        closedir(dir);
        if (h->n > 0)
                qsort(h->entries, h->n, sizeof(*h->entries), compare);
        remove_oldest(h);
        return 0;
}

void history_done(struct history *h)
{
        free(h->directory);
        free(h->entries);
        *h = (struct history){};
}

bool history_has(const struct history *h, const char *id)
{
        for (size_t i = 0; i < h->n; i++)
                if (STREQ(h->entries[i].id, id))
                        return true;
        return false;
}

int history_add(struct history *h, const char *id, const char *name, json_object *record, struct failure *f)
{
        struct history_entry e = {};
        _cleanup_free_ char *path = NULL;
        struct timespec now;
        int r;

        if (history_has(h, id))
                return 0;
        clock_gettime(CLOCK_REALTIME, &now);
        e.usec = (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / NSEC_PER_USEC;
        /* The clock may have been set back; still, records stay in the order in which they ended. */
        if (h->n > 0 && e.usec <= h->entries[h->n - 1].usec)
                e.usec = h->entries[h->n - 1].usec + 1;
        snprintf(e.id, sizeof(e.id), "%s", id);
        snprintf(e.name, sizeof(e.name), "%s", name);
        json_add_int(record, "time", (int64_t)e.usec);
        path = entry_path(h, &e);
        r = file_write(path, json_object_to_json_string_ext(record, JSON_C_TO_STRING_NOSLASHESCAPE), 0640);
        if (r < 0)
                return failure_set(f, r, "cannot keep the record in %s: %s", path, strerror(-r));
        *append(h) = e;
        remove_oldest(h);
        return 0;
}

static bool is_record(const char *text)
{
        _cleanup_json_ json_object *record = json_tokener_parse(text);

        return json_object_is_type(record, json_type_object);
}

static int print_text(json_object *o, struct printbuf *to, int level, int flags)
{
        const char *text = json_object_get_userdata(o);

        return printbuf_memappend(to, text, (int)strlen(text));
}

/* A record as a string that prints itself just as it is in its file: parsing a hundred for one reply would
 * keep other callers waiting. It is checked once. NULL: it is not a record, or the file is gone. */
static json_object *read_record(const struct history *h, struct history_entry *e, size_t *ret_size)
{
        _cleanup_free_ char *path = entry_path(h, e), *text = NULL;
        int r = file_read(AT_FDCWD, path, RECORD_MAX, &text, ret_size);
        json_object *record;

        e->is_sound = r >= 0 && (e->is_sound || is_record(text));
        if (!e->is_sound) {
                log_warning("%s is not a record", path);
                return NULL;
        }
        record = json_object_new_object();
        json_object_set_serializer(record, print_text, TAKE_PTR(text), json_object_free_userdata);
        return record;
}

json_object *history_list(const struct history *h, const char *name, const char *id)
{
        json_object *list = json_object_new_array();
        size_t total = 0;

        for (size_t i = h->n; i-- > 0 && json_object_array_length(list) < HISTORY_REPLY_MAX;) {
                struct history_entry *e = &h->entries[i];
                json_object *record;
                size_t size = 0;

                if ((name && !STREQ(e->name, name)) || (id && !STREQ(e->id, id)))
                        continue;
                record = read_record(h, e, &size);
                if (!record)
                        continue;
                total += size;
                if (total > REPLY_MAX) {
                        json_object_put(record);
                        break;
                }
                json_object_array_add(list, record);
        }
        return list;
}
