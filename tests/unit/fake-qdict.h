/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* QDicts in this process's heap, as QEMU has them in its own. */

#include "handoff/qdict.h"

#include <stdarg.h>

static inline struct qdict_value *fake_value(enum qdict_type type)
{
        struct qdict_value *v = mem_new(1, sizeof(*v));

        v->base.type = type;
        v->base.references = 1;
        return v;
}

static inline struct qdict_value *fake_string(const char *text)
{
        struct qdict_value *v = fake_value(QDICT_STRING);

        v->string = (uint64_t)(uintptr_t)text_copy(text);
        return v;
}

static inline void fake_put(struct qdict *q, const char *key, struct qdict_value *value)
{
        struct qdict_entry *e = mem_new(1, sizeof(*e));
        uint64_t *bucket = &q->table[qdict_bucket(key)];

        *e = (struct qdict_entry){(uint64_t)(uintptr_t)text_copy(key), (uint64_t)(uintptr_t)value, *bucket};
        *bucket = (uint64_t)(uintptr_t)e;
        q->size++;
}

/* Of pairs of key and text, NULL at the end. */
static inline struct qdict *fake_qdict(const char *key, ...)
{
        struct qdict *q = mem_new(1, sizeof(*q));
        va_list ap;

        q->base.type = QDICT_DICTIONARY;
        q->base.references = 1;
        va_start(ap, key);
        for (; key; key = va_arg(ap, const char *))
                fake_put(q, key, fake_string(va_arg(ap, const char *)));
        va_end(ap);
        return q;
}

static inline void fake_free(struct qdict *q)
{
        for (size_t i = 0; i < QDICT_BUCKETS; i++)
                for (struct qdict_entry *e = (void *)(uintptr_t)q->table[i], *next; e; e = next) {
                        struct qdict_value *v = (void *)(uintptr_t)e->value;

                        next = (void *)(uintptr_t)e->next;
                        if (v && v->base.type == QDICT_STRING)
                                free((void *)(uintptr_t)v->string);
                        free(v);
                        free((void *)(uintptr_t)e->key);
                        free(e);
                }
        free(q);
}
