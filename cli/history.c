/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/findings.h"
#include "cli/table.h"
#include "cli/verbs.h"

#include <inttypes.h>

#define RECORDS_MAX 100 /* of one reply, see io.cprd.varlink */

static enum colour outcome_colour(json_object *record)
{
        switch (outcome_status(record)) {
        case EXIT_UPDATED:
                return COLOUR_NONE;
        case EXIT_NEEDS_OPERATOR:
                return COLOUR_BAD;
        default:
                return COLOUR_WARN;
        }
}

static void add_record(struct table *t, json_object *record)
{
        char when[TEXT_MAX], pause[TEXT_MAX];
        int64_t usec = json_int(record, "pause", -1);
        const char *cells[] = {
                json_str(record, "id"),
                format_time(json_int(record, "time", 0), when),
                json_str(record, "name"),
                format_outcome(json_str(record, "outcome")),
                json_str(json_obj(record, "source"), "version"),
                json_str(json_obj(record, "destination"), "version"),
                usec >= 0 ? format_duration(usec, pause) : NULL,
                json_str(record, "reason") ?: "",
        };

        table_add(t, outcome_colour(record), cells);
}

void history_print(json_object *records, FILE *out, size_t width)
{
        static const struct column columns[] = {
                {"ID", ALIGN_LEFT, 0},      {"ENDED", ALIGN_LEFT, 1}, {"VM", CUT_END, 0},
                {"OUTCOME", ALIGN_LEFT, 0}, {"FROM", ALIGN_LEFT, 3},  {"TO", ALIGN_LEFT, 3},
                {"PAUSE", ALIGN_RIGHT, 4},  {"REASON", CUT_END, 5},
        };
        struct table t;

        table_init(&t, columns, ELEMENTSOF(columns));
        for (size_t i = 0; records && i < json_object_array_length(records); i++)
                add_record(&t, json_object_array_get_idx(records, i));
        table_print(&t, out, width);
        table_done(&t);
}

static void print_member(const char *key, json_object *value)
{
        char text[TEXT_MAX];

        if (STREQ(key, "time"))
                printf("%-18s %s\n", key, format_time(json_object_get_int64(value), text));
        else if (STREQ(key, "pause") || STREQ(key, "elapsed"))
                printf("%-18s %s\n", key, format_duration(json_object_get_int64(value), text));
        else if (json_object_is_type(value, json_type_object))
                printf("%-18s QEMU %s, pid %" PRIi64 ", %s\n", key, format_qemu(value),
                       json_int(value, "pid", 0), json_str(value, "binary") ?: "?");
        else
                printf("%-18s %s\n", key,
                       STREQ(key, "outcome") ? format_outcome(json_object_get_string(value))
                                             : json_object_get_string(value));
}

static void print_record(json_object *record)
{
        json_object *stages = json_arr(record, "stages");
        char text[TEXT_MAX];

        json_object_object_foreach (record, key, value)
                if (value && !json_object_is_type(value, json_type_array))
                        print_member(key, value);
        for (size_t i = 0; stages && i < json_object_array_length(stages); i++) {
                json_object *stage = json_object_array_get_idx(stages, i);

                printf("  %-16s %s\n", json_str(stage, "stage") ?: "?",
                       format_duration(json_int(stage, "elapsed", 0), text));
        }
        findings_print(json_arr(record, "findings"));
}

void history_keep_since(json_object *reply, int64_t since)
{
        json_object *records = json_arr(reply, "records"), *wanted = json_object_new_array();
        size_t n = records ? json_object_array_length(records) : 0, kept = 0;

        for (size_t i = 0; i < n; i++) {
                json_object *record = json_object_array_get_idx(records, i);

                if (json_int(record, "time", 0) < since)
                        continue;
                json_object_array_add(wanted, json_object_get(record));
                kept++;
        }
        if (kept == n && n >= RECORDS_MAX)
                fprintf(stderr, "cprctl: these are the newest %d; there may be more\n", RECORDS_MAX);
        json_object_object_add(reply, "records", wanted);
}

int verb_history(const struct options *o)
{
        _cleanup_json_ json_object *reply = NULL;
        json_object *parameters = client_name(o), *records;
        int r;

        json_add_str(parameters, "id", o->id);
        r = client_call(o, "History", parameters, &reply);
        if (r != 0)
                return r;
        if (o->since)
                history_keep_since(reply, o->since);
        if (o->json) {
                client_print_json(reply);
                return 0;
        }
        records = json_arr(reply, "records");
        if (o->id && records)
                print_record(json_object_array_get_idx(records, 0));
        else
                history_print(records, stdout, terminal_width(stdout));
        return 0;
}
