/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/live.h"

#include <inttypes.h>
#include <stdarg.h>

#define CLEAR_LINE "\r\033[K"

void live_init(struct live *l, FILE *out, const char *name, const char *target)
{
        const char *term = getenv("TERM");

        *l = (struct live){.out = out, .name = name, .target = target};
        l->terminal = isatty(fileno(out)) && term && !STREQ(term, "dumb");
}

void live_done(struct live *l)
{
        if (l->terminal && l->stage[0])
                fputs(CLEAR_LINE, l->out);
        free(TAKE_PTR(l->held));
        json_object_put(TAKE_PTR(l->check));
        l->stage[0] = '\0';
}

/* A whole line: to the screen, or to those that wait for the head. */
static void put_line(struct live *l, const char *format, ...) _printf_(2, 3);
static void put_line(struct live *l, const char *format, ...)
{
        va_list ap;
        char *text;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        if (n < 0)
                return;
        if (l->has_head) {
                fprintf(l->out, "%s%s\n", l->terminal ? CLEAR_LINE : "", text);
                fflush(l->out);
        } else {
                char *more = realloc(l->held, l->held_size + (size_t)n + 2);

                if (more) {
                        l->held = more;
                        l->held_size += (size_t)sprintf(more + l->held_size, "%s\n", text);
                }
        }
        free(text);
}

/* "10.0.2", or the binary where the version is not known. */
static const char *qemu_text(json_object *qemu, const char *otherwise)
{
        return json_str(qemu, "version") ?: json_str(qemu, "binary") ?: otherwise;
}

static void put_head(struct live *l, json_object *about)
{
        int64_t connections = json_int(about, "connections", -1), cid = json_int(about, "cid", -1);

        if (l->has_head)
                return;
        l->has_head = true;
        l->has_version = json_str(json_obj(about, "destination"), "version");
        fprintf(l->out, "%s%s%s%s: QEMU %s -> %s", l->terminal ? CLEAR_LINE : "", colour(l->out, COLOUR_BOLD),
                l->name, colour(l->out, COLOUR_NONE), qemu_text(json_obj(about, "source"), "?"),
                qemu_text(json_obj(about, "destination"), l->target ? l->target : "the same path"));
        if (connections >= 0)
                fprintf(l->out, ", %" PRIi64 " vsock connection%s", connections, connections == 1 ? "" : "s");
        if (cid >= 0)
                fprintf(l->out, ", CID %" PRIi64, cid);
        fprintf(l->out, "\n%s", l->held ?: "");
        fflush(l->out);
        free(TAKE_PTR(l->held));
        l->held_size = 0;
}

/* What a stage has to say beside its time. */
static void make_note(json_object *reply, json_object *progress, char *text, size_t size)
{
        const char *stage = json_str(progress, "stage") ?: "", *reason = json_str(progress, "reason");
        json_object *findings = json_arr(reply, "findings");
        int64_t pause = json_int(json_obj(reply, "about"), "pause", -1);
        char duration[TEXT_MAX];

        text[0] = '\0';
        if (findings && STREQ(stage, "check"))
                format_findings(findings, text, size);
        else if (reason)
                snprintf(text, size, "%s", reason);
        else if (json_int(progress, "error", 0))
                snprintf(text, size, "%s", strerror((int)json_int(progress, "error", 0)));
        else if (json_flag(progress, "undo"))
                return;
        else if (STREQ(stage, "load"))
                snprintf(text, size, "pause began");
        else if (STREQ(stage, "commit") && pause >= 0)
                snprintf(text, size, "pause %s", format_duration(pause, duration));
}

static void stage_ended(struct live *l, json_object *reply, json_object *progress)
{
        bool failed = json_int(progress, "error", 0) != 0;
        char duration[TEXT_MAX], note[512], stage[48];

        snprintf(stage, sizeof(stage), "%s%s", json_flag(progress, "undo") ? "undo " : "",
                 json_str(progress, "stage") ?: "?");
        l->n_stages += !json_flag(progress, "undo");
        make_note(reply, progress, note, sizeof(note));
        put_line(l, "  %s%-12s%s%8s%s%s%s%s", failed ? colour(l->out, COLOUR_BAD) : "", stage,
                 failed ? colour(l->out, COLOUR_NONE) : "",
                 format_duration(json_int(progress, "elapsed", 0), duration), note[0] ? "   " : "",
                 failed ? colour(l->out, COLOUR_BAD) : "", note, failed ? colour(l->out, COLOUR_NONE) : "");
        l->stage[0] = '\0';
}

/* The check's line and the head wait for the reply after the check: that one has the findings. */
static void check_ended(struct live *l, json_object *reply, json_object *about)
{
        _cleanup_json_ json_object *check = TAKE_PTR(l->check);

        if (!check)
                return;
        stage_ended(l, reply, check);
        put_head(l, about);
}

void live_reply(struct live *l, json_object *reply)
{
        json_object *progress = json_obj(reply, "progress");
        const char *stage = json_str(progress, "stage"), *event = json_str(progress, "event");

        if (!stage || !event)
                return;
        check_ended(l, reply, json_obj(reply, "about"));
        if (STREQ(event, "begin")) {
                snprintf(l->stage, sizeof(l->stage), "%s", stage);
                l->undo = json_flag(progress, "undo");
                l->since = now_usec();
                live_tick(l);
        } else if (STREQ(stage, "check") && !json_flag(progress, "undo")) {
                l->check = json_object_get(progress);
        } else {
                stage_ended(l, reply, progress);
        }
}

void live_tick(struct live *l)
{
        static const char *const marks[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
        char duration[TEXT_MAX];

        if (!l->terminal || !l->stage[0])
                return;
        fprintf(l->out, CLEAR_LINE "%s%s%s %s%s %*s", colour(l->out, COLOUR_WARN),
                marks[l->frame++ % ELEMENTSOF(marks)], colour(l->out, COLOUR_NONE), l->undo ? "undo " : "",
                l->stage, (int)(19 - strlen(l->stage) - (l->undo ? 5 : 0)),
                format_duration((int64_t)((now_usec() - l->since) / 1000 * 1000), duration));
        fflush(l->out);
}

/* Why it was refused: the blockers, or what broke the check off. */
static void put_blockers(struct live *l, json_object *record)
{
        json_object *findings = json_arr(record, "findings");
        const char *reason = json_str(record, "reason");
        bool any = false;

        for (size_t i = 0; findings && i < json_object_array_length(findings); i++) {
                json_object *finding = json_object_array_get_idx(findings, i);
                const char *remedy = json_str(finding, "remedy");

                if (!STREQ(json_str(finding, "severity") ?: "", "blocker"))
                        continue;
                any = true;
                fprintf(l->out, "  %s%s%s: %s\n", colour(l->out, COLOUR_BAD), json_str(finding, "id") ?: "?",
                        colour(l->out, COLOUR_NONE), json_str(finding, "what") ?: "?");
                if (remedy)
                        fprintf(l->out, "      %s\n", remedy);
        }
        if (!any && reason)
                fprintf(l->out, "  %s%s%s: %s\n", colour(l->out, COLOUR_BAD),
                        json_str(record, "stage") ?: "?", colour(l->out, COLOUR_NONE), reason);
}

static void put_numbers(struct live *l, json_object *record)
{
        int64_t before = json_int(record, "connectionsBefore", -1),
                after = json_int(record, "connectionsAfter", -1);
        int64_t pause = json_int(record, "pause", -1), lost = json_int(record, "lost", 0);
        char duration[TEXT_MAX];
        const char *comma = "";

        if (!l->has_version && STREQ(json_str(record, "outcome") ?: "", "updated"))
                fprintf(l->out, "QEMU %s -> %s, ", qemu_text(json_obj(record, "source"), "?"),
                        qemu_text(json_obj(record, "destination"), "?"));
        if (before >= 0 && after >= 0) {
                fprintf(l->out, "connections %" PRIi64 " -> %" PRIi64, before, after);
                comma = ", ";
        }
        if (lost > 0) {
                fprintf(l->out, "%s%s%" PRIi64 " lost%s", comma, colour(l->out, COLOUR_BAD), lost,
                        colour(l->out, COLOUR_NONE));
                comma = ", ";
        }
        if (pause >= 0) {
                fprintf(l->out, "%spause %s", comma, format_duration(pause, duration));
                comma = ", ";
        }
        fprintf(l->out, "%srecord %s\n", comma, json_str(record, "id") ?: "?");
}

/* The stages that ended while cprd was away. */
static void put_missed(struct live *l, json_object *record)
{
        json_object *stages = json_arr(record, "stages");

        for (size_t i = l->n_stages; stages && i < json_object_array_length(stages); i++) {
                json_object *stage = json_object_array_get_idx(stages, i);
                char duration[TEXT_MAX];

                put_line(l, "  %-12s%8s", json_str(stage, "stage") ?: "?",
                         format_duration(json_int(stage, "elapsed", 0), duration));
        }
}

void live_record(struct live *l, json_object *record)
{
        const char *outcome = json_str(record, "outcome") ?: "needs_operator",
                   *stage = json_str(record, "stage");
        const char *reason = json_str(record, "reason"), *remedy = json_str(record, "remedy");
        enum colour c = STREQ(outcome, "updated") || STREQ(outcome, "rehearsed") ? COLOUR_GOOD
                        : STREQ(outcome, "needs_operator")                       ? COLOUR_BAD
                                                                                 : COLOUR_WARN;

        if (l->terminal)
                fputs(CLEAR_LINE, l->out);
        check_ended(l, record, record);
        put_head(l, record);
        put_missed(l, record);
        l->stage[0] = '\0';
        if (STREQ(outcome, "refused"))
                put_blockers(l, record);
        fprintf(l->out, "%s%s%s: ", colour(l->out, c), format_outcome(outcome), colour(l->out, COLOUR_NONE));
        if (STREQ(outcome, "refused")) {
                fprintf(l->out, "nothing was touched, record %s\n", json_str(record, "id") ?: "?");
        } else {
                if (reason)
                        fprintf(l->out, "%s%s%s; ", stage ?: "", stage ? ": " : "", reason);
                put_numbers(l, record);
                if (remedy)
                        fprintf(l->out, "    %s\n", remedy);
        }
        fflush(l->out);
}
