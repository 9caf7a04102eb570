/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/facts.h"

#define NOBODY 65534

enum fact_type { FACT_INT, FACT_TEXT, FACT_FLAG, FACT_JSON };

/* One row per fact. Those with a group are written together. */
static const struct fact {
        const char *group; /* NULL: it stands alone */
        const char *name;
        enum fact_type type;
        size_t offset;
} table[] = {
#define FACT(group, name, type, member)                                                                      \
        {                                                                                                    \
                group, name, type, offsetof(struct facts, member)                                            \
        }
        FACT("source", "deviceFd", FACT_INT, source.device_fd),
        FACT("source", "cid", FACT_INT, source.cid),
        FACT("source", "uid", FACT_INT, source.uid),
        FACT("source", "gid", FACT_INT, source.gid),
        FACT("source", "binary", FACT_TEXT, source.binary),
        FACT("source", "version", FACT_TEXT, source.version),
        FACT("source", "machine", FACT_TEXT, source.machine),
        FACT("destination", "pid", FACT_INT, destination.pid),
        FACT("destination", "startTime", FACT_INT, destination.start_time),
        FACT("destination", "oomScoreAdj", FACT_INT, destination.oom_score_adj),
        FACT("destination", "binary", FACT_TEXT, destination.binary),
        FACT("destination", "version", FACT_TEXT, destination.version),
        FACT("heap", "address", FACT_INT, heap.address),
        FACT("heap", "size", FACT_INT, heap.size),
        FACT("device", "backendFeatures", FACT_INT, device.backend_features),
        FACT("device", "replaced", FACT_FLAG, device.replaced),
        FACT("migration", "asked", FACT_FLAG, migration.asked),
        FACT("migration", "runState", FACT_TEXT, migration.run_state),
        FACT("migration", "loaded", FACT_FLAG, migration.loaded),
        FACT(NULL, "listeners", FACT_JSON, listeners),
        FACT(NULL, "pidfile", FACT_TEXT, pidfile),
        FACT(NULL, "vnc", FACT_JSON, vnc),
        FACT(NULL, "connections", FACT_JSON, connections),
        FACT(NULL, "connectionsBefore", FACT_JSON, connections_before),
        FACT(NULL, "settings", FACT_JSON, settings),
        FACT(NULL, "holes", FACT_JSON, holes),
        FACT(NULL, "pause", FACT_INT, pause),
        FACT(NULL, "committed", FACT_FLAG, committed),
#undef FACT
};

void facts_init(struct facts *facts)
{
        *facts = (struct facts){.source = {.device_fd = -1, .uid = NOBODY, .gid = NOBODY}};
}

static void *member(struct facts *facts, const struct fact *row)
{
        return (char *)facts + row->offset;
}

void facts_done(struct facts *facts)
{
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                void *m = member(facts, &table[i]);

                if (table[i].type == FACT_TEXT)
                        free(*(char **)m);
                else if (table[i].type == FACT_JSON)
                        json_object_put(*(json_object **)m);
        }
        facts_init(facts);
}

static void add_member(json_object *o, struct facts *facts, const struct fact *row)
{
        void *m = member(facts, row);

        switch (row->type) {
        case FACT_INT:
                return json_add_int(o, row->name, *(int64_t *)m);
        case FACT_TEXT:
                return json_add_str(o, row->name, *(char **)m);
        case FACT_FLAG:
                return json_add_bool(o, row->name, *(bool *)m);
        case FACT_JSON:
                if (*(json_object **)m)
                        json_add(o, row->name, json_object_get(*(json_object **)m));
                return;
        }
}

static bool belongs_to(const struct fact *row, const char *name)
{
        return STREQ(row->group ?: row->name, name);
}

int facts_note(struct facts *facts, struct journal *j, const char *name, struct failure *f)
{
        json_object *fact = json_object_new_object(), *group = NULL;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                if (!belongs_to(&table[i], name))
                        continue;
                if (table[i].group && !group) {
                        group = json_object_new_object();
                        json_add(fact, name, group);
                }
                add_member(group ?: fact, facts, &table[i]);
        }
        r = journal_append(j, "fact", fact);
        return r < 0 ? failure_set(f, r, "cannot write the journal: %s", strerror(-r)) : 0;
}

static void take_text(char **text, const char *value)
{
        if (!value)
                return;
        free(*text);
        *text = text_copy(value);
}

static void take_member(struct facts *facts, const struct fact *row, json_object *o)
{
        void *m = member(facts, row);
        json_object *value = NULL;

        if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, row->name, &value))
                return;
        switch (row->type) {
        case FACT_INT:
                *(int64_t *)m = json_int(o, row->name, *(int64_t *)m);
                return;
        case FACT_TEXT:
                return take_text(m, json_str(o, row->name));
        case FACT_FLAG:
                *(bool *)m = json_flag(o, row->name);
                return;
        case FACT_JSON:
                json_object_put(*(json_object **)m);
                *(json_object **)m = json_object_get(value);
                return;
        }
}

void facts_take(struct facts *facts, json_object *fact)
{
        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                take_member(facts, &table[i], table[i].group ? json_obj(fact, table[i].group) : fact);
}
