/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "daemon/history.h"
#include "common/file.h"

#include "common/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <systemd/sd-journal.h>

#define RECORD_MAX (256U << 10) /* bytes of one file */

/* The names of systemd/cprd.catalog. */
static const struct {
        const char *outcome, *message_id;
        int priority;
} outcomes[] = {
        {"updated", "3ac5e49a7d0b4a1e9c3d0b5f8a4e6d21", LOG_NOTICE},
        {"refused", "b0d6f2c85e174f43a1f79e02c6d8b134", LOG_WARNING},
        {"still_on_source", "6e1f9b37c2a84d50b8e45d1a70f3c962", LOG_WARNING},
        {"needs_operator", "f47a20d95b6c4e1883c9e2f05d71ab3e", LOG_CRIT},
};

static int name_filter(const struct dirent *e)
{
        size_t n = strlen(e->d_name);

        return e->d_name[0] != '.' && n > 5 && STREQ(e->d_name + n - 5, ".json");
}

/* All records, the oldest first; the caller frees. */
static int list_names(struct daemon *d, struct dirent ***ret)
{
        _cleanup_free_ char *path = file_path(d->state, "history");
        int n = scandir(path, ret, name_filter, alphasort);

        if (n < 0 && errno != ENOENT)
                log_warning("cannot read %s: %s", path, strerror(errno));
        return n < 0 ? 0 : n;
}

static void free_names(struct dirent **names, int n)
{
        for (int i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

static bool name_has_id(const char *name, const char *id)
{
        const char *dash = strchr(name, '-');
        size_t n = strlen(id);

        return dash && strncmp(dash + 1, id, n) == 0 && STREQ(dash + 1 + n, ".json");
}

static bool is_kept(struct dirent **names, int n, const char *id)
{
        for (int i = 0; i < n; i++)
                if (name_has_id(names[i]->d_name, id))
                        return true;
        return false;
}

static void remove_oldest(struct daemon *d, struct dirent **names, int n)
{
        for (int i = 0; i < n - (int)d->config.history; i++) {
                _cleanup_free_ char *path = file_path(d->state, "history/%s", names[i]->d_name);

                unlink(path);
        }
}

int history_add(struct daemon *d, json_object *record, struct failure *f)
{
        const char *id = json_str(record, "id");
        _cleanup_free_ char *path = NULL;
        struct dirent **names = NULL;
        struct timespec now;
        int64_t usec;
        int n, r = 0;

        clock_gettime(CLOCK_REALTIME, &now);
        usec = (int64_t)now.tv_sec * (int64_t)USEC_PER_SEC + now.tv_nsec / (int64_t)NSEC_PER_USEC;
        n = list_names(d, &names);
        if (!is_kept(names, n, id)) {
                json_add_int(record, "time", usec);
                path = file_path(d->state, "history/%017" PRIi64 "-%s.json", usec, id);
                r = file_write(path, json_object_to_json_string_ext(record, JSON_C_TO_STRING_NOSLASHESCAPE),
                               0640);
                remove_oldest(d, names, n + 1);
        }
        free_names(names, n);
        if (r < 0)
                return failure_set(f, r, "cannot keep the record in %s: %s", path, strerror(-r));
        return 0;
}

static json_object *read_record(struct daemon *d, const char *file)
{
        _cleanup_free_ char *path = file_path(d->state, "history/%s", file), *text = NULL;

        return file_read(AT_FDCWD, path, RECORD_MAX, &text, NULL) < 0 ? NULL : json_tokener_parse(text);
}

json_object *history_list(struct daemon *d, const char *name, const char *id)
{
        json_object *list = json_object_new_array();
        struct dirent **names = NULL;
        size_t size = 0;
        int n = list_names(d, &names);

        for (int i = n - 1; i >= 0 && json_object_array_length(list) < HISTORY_REPLY_MAX; i--) {
                _cleanup_json_ json_object *record = NULL;
                const char *whose;

                if (id && !name_has_id(names[i]->d_name, id))
                        continue;
                record = read_record(d, names[i]->d_name);
                whose = json_str(record, "name");
                if (!whose || (name && !STREQ(whose, name)))
                        continue;
                /* One reply must stay a message that clients take (systemd's take 16 MiB, ours 1 MiB). */
                size += strlen(json_object_to_json_string_ext(record, JSON_C_TO_STRING_PLAIN));
                if (size > (768U << 10))
                        break;
                json_object_array_add(list, TAKE_PTR(record));
        }
        free_names(names, n);
        return list;
}

static const char *qemu_text(json_object *qemu)
{
        return json_str(qemu, "version") ?: json_str(qemu, "binary") ?: "?";
}

static void message_make(json_object *record, const char *outcome, char *text, size_t size)
{
        const char *reason = json_str(record, "reason"), *stage = json_str(record, "stage");
        int64_t pause = json_int(record, "pause", -1), lost = json_int(record, "lost", -1);
        int n;

        if (!STREQ(outcome, "updated")) {
                snprintf(text, size, "%s%s%s: %s", outcome, stage ? " at " : "", stage ?: "",
                         reason ?: "no reason given");
                for (char *p = text; p < text + strlen(outcome); p++)
                        *p = *p == '_' ? '-' : *p;
                return;
        }
        n = snprintf(text, size, "updated, QEMU %.100s -> %.100s", qemu_text(json_obj(record, "source")),
                     qemu_text(json_obj(record, "destination")));
        if (pause >= 0)
                n += snprintf(text + n, size - (size_t)n, ", pause %.1f ms", (double)pause / 1000);
        if (lost >= 0)
                snprintf(text + n, size - (size_t)n, ", %d vsock connections lost", (int)lost);
}

/* Null and numbers as text: a field of the journal is always there. */
static const char *text_of(json_object *o, const char *key)
{
        json_object *v = NULL;

        return json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : "";
}

void history_log(json_object *record)
{
        const char *outcome = json_str(record, "outcome") ?: "needs_operator",
                   *name = json_str(record, "name");
        json_object *source = json_obj(record, "source"), *destination = json_obj(record, "destination");
        char text[512];
        size_t i = 0;

        while (i < ELEMENTSOF(outcomes) - 1 && !STREQ(outcomes[i].outcome, outcome))
                i++;
        message_make(record, outcome, text, sizeof(text));
        if (getenv("JOURNAL_STREAM") &&
            sd_journal_send(
                    "MESSAGE=%s: %s", name, text, "PRIORITY=%i", outcomes[i].priority, "MESSAGE_ID=%s",
                    outcomes[i].message_id, "VM=%s", name, "HANDOFF=%s", text_of(record, "id"), "OUTCOME=%s",
                    outcome, "CALLER=%s", text_of(record, "caller"), "STAGE=%s", text_of(record, "stage"),
                    "REASON=%s", text_of(record, "reason"), "REMEDY=%s", text_of(record, "remedy"),
                    "STRATEGY=%s", text_of(record, "strategy"), "CID=%s", text_of(record, "cid"),
                    "ELAPSED_USEC=%s", text_of(record, "elapsed"), "PAUSE_USEC=%s", text_of(record, "pause"),
                    "CONNECTIONS_BEFORE=%s", text_of(record, "connectionsBefore"), "CONNECTIONS_AFTER=%s",
                    text_of(record, "connectionsAfter"), "CONNECTIONS_LOST=%s", text_of(record, "lost"),
                    "SOURCE_PID=%s", text_of(source, "pid"), "SOURCE_BINARY=%s", text_of(source, "binary"),
                    "SOURCE_VERSION=%s", text_of(source, "version"), "DESTINATION_PID=%s",
                    text_of(destination, "pid"), "DESTINATION_BINARY=%s", text_of(destination, "binary"),
                    "DESTINATION_VERSION=%s", text_of(destination, "version"), "STAGES=%s",
                    text_of(record, "stages"), NULL) >= 0)
                return;
        log_full(outcomes[i].priority, name, text_of(record, "id"), "%s", text);
}
