/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "daemon/announce.h"

#include "common/log.h"

#include <systemd/sd-journal.h>

#define TEXT_MAX 1024

/* As in systemd/cprd.catalog. */
static const struct {
        const char *outcome, *message_id;
        int priority;
} outcomes[] = {
        {"updated", "3ac5e49a7d0b4a1e9c3d0b5f8a4e6d21", LOG_NOTICE},
        {"rehearsed", "2d7be1f05a3c4e8f9406c1d97be85a12", LOG_INFO},
        {"refused", "b0d6f2c85e174f43a1f79e02c6d8b134", LOG_WARNING},
        {"still_on_source", "6e1f9b37c2a84d50b8e45d1a70f3c962", LOG_WARNING},
        {"needs_operator", "f47a20d95b6c4e1883c9e2f05d71ab3e", LOG_CRIT},
};

static const char *qemu_text(json_object *qemu)
{
        return json_str(qemu, "version") ?: json_str(qemu, "binary") ?: "?";
}

static void make_failed(json_object *record, const char *outcome, char text[static TEXT_MAX])
{
        const char *reason = json_str(record, "reason"), *stage = json_str(record, "stage");
        size_t n = strnlen(outcome, 64);

        snprintf(text, TEXT_MAX, "%.64s%s%.64s: %s", outcome, stage ? " at " : "", stage ?: "",
                 reason ?: "no reason given");
        for (char *p = text; p < text + n; p++)
                *p = *p == '_' ? '-' : *p;
}

static void make_updated(json_object *record, char text[static TEXT_MAX])
{
        int64_t pause = json_int(record, "pause", -1), lost = json_int(record, "lost", -1);
        char pause_text[64] = "", lost_text[64] = "";

        if (pause >= 0)
                snprintf(pause_text, sizeof(pause_text), ", pause %.1f ms", (double)pause / 1000);
        if (lost >= 0)
                snprintf(lost_text, sizeof(lost_text), ", %lld vsock connections lost", (long long)lost);
        snprintf(text, TEXT_MAX, "updated, QEMU %.100s -> %.100s%s%s", qemu_text(json_obj(record, "source")),
                 qemu_text(json_obj(record, "destination")), pause_text, lost_text);
}

static void message_make(json_object *record, const char *outcome, char text[static TEXT_MAX])
{
        if (STREQ(outcome, "updated"))
                make_updated(record, text);
        else
                make_failed(record, outcome, text);
}

/* As text, null and numbers too: the journal entry has every field, always. */
static const char *text_of(json_object *o, const char *key)
{
        json_object *v = NULL;

        return json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : "";
}

void announce(json_object *record)
{
        const char *outcome = json_str(record, "outcome") ?: "needs_operator",
                   *name = json_str(record, "name");
        json_object *source = json_obj(record, "source"), *destination = json_obj(record, "destination");
        char text[TEXT_MAX];
        size_t i = 0;

        while (i < ELEMENTSOF(outcomes) - 1 && !STREQ(outcomes[i].outcome, outcome))
                i++;
        message_make(record, outcome, text);
        if (getenv("JOURNAL_STREAM") &&
            sd_journal_send(
                    "MESSAGE=%s: %s", name, text, "PRIORITY=%i", outcomes[i].priority, "MESSAGE_ID=%s",
                    outcomes[i].message_id, "VM=%s", name, "HANDOFF=%s", text_of(record, "id"), "OUTCOME=%s",
                    outcome, "CALLER=%s", text_of(record, "caller"), "STAGE=%s", text_of(record, "stage"),
                    "REASON=%s", text_of(record, "reason"), "REMEDY=%s", text_of(record, "remedy"), "CID=%s",
                    text_of(record, "cid"), "ELAPSED_USEC=%s", text_of(record, "elapsed"), "PAUSE_USEC=%s",
                    text_of(record, "pause"), "CONNECTIONS_BEFORE=%s", text_of(record, "connectionsBefore"),
                    "CONNECTIONS_AFTER=%s", text_of(record, "connectionsAfter"), "CONNECTIONS_LOST=%s",
                    text_of(record, "lost"), "SOURCE_PID=%s", text_of(source, "pid"), "SOURCE_BINARY=%s",
                    text_of(source, "binary"), "SOURCE_VERSION=%s", text_of(source, "version"),
                    "DESTINATION_PID=%s", text_of(destination, "pid"), "DESTINATION_BINARY=%s",
                    text_of(destination, "binary"), "DESTINATION_VERSION=%s", text_of(destination, "version"),
                    "STAGES=%s", text_of(record, "stages"), NULL) >= 0)
                return;
        log_full(outcomes[i].priority, name, text_of(record, "id"), "%s", text);
}
