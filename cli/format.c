/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/format.h"

const char *format_duration(int64_t usec, char text[static TEXT_MAX])
{
        double ms = (double)usec / 1000;

        if (ms >= 9999.5)
                snprintf(text, TEXT_MAX, "%.1f s", ms / 1000);
        else if (ms >= 9.95 || usec % 1000 == 0)
                snprintf(text, TEXT_MAX, "%.0f ms", ms);
        else if (ms >= 0.05)
                snprintf(text, TEXT_MAX, "%.1f ms", ms);
        else
                snprintf(text, TEXT_MAX, "%lld us", (long long)usec);
        return text;
}

int parse_duration(const char *text, int64_t *ret_usec)
{
        static const struct {
                const char *unit;
                double usec;
        } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"min", 6e7}};
        char *end;
        double value;

        errno = 0;
        value = strtod(text, &end);
        if (end == text || errno != 0 || !(value > 0))
                return -EINVAL;
        while (*end == ' ')
                end++;
        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                if (!STREQ(end, units[i].unit))
                        continue;
                value *= units[i].usec;
                if (value < 1 || value > 1e15)
                        return -EINVAL;
                *ret_usec = (int64_t)value;
                return 0;
        }
        return -EINVAL;
}

static size_t count(json_object *findings, const char *severity, const char **ret_last)
{
        size_t n = 0;

        for (size_t i = 0; findings && i < json_object_array_length(findings); i++) {
                json_object *finding = json_object_array_get_idx(findings, i);

                if (!STREQ(json_str(finding, "severity") ?: "", severity))
                        continue;
                *ret_last = json_str(finding, "id");
                n++;
        }
        return n;
}

const char *format_findings(json_object *findings, char *text, size_t size)
{
        const char *blocker = NULL, *warning = NULL, *passed = NULL;
        size_t blockers = count(findings, "blocker", &blocker),
               warnings = count(findings, "warning", &warning);
        int n = snprintf(text, size, "%zu passed", count(findings, "passed", &passed));

        if (warnings && n > 0 && (size_t)n < size)
                n += snprintf(text + n, size - (size_t)n, ", %zu warning%s: %s%s", warnings,
                              warnings > 1 ? "s" : "", warning ?: "?", warnings > 1 ? ", …" : "");
        if (blockers && n > 0 && (size_t)n < size)
                snprintf(text + n, size - (size_t)n, ", %zu blocker%s: %s%s", blockers,
                         blockers > 1 ? "s" : "", blocker ?: "?", blockers > 1 ? ", …" : "");
        return text;
}

const char *format_qemu(json_object *qemu)
{
        return json_str(qemu, "version") ?: json_str(qemu, "binary") ?: "?";
}

const char *format_outcome(const char *outcome)
{
        static const char *const names[][2] = {
                {"still_on_source", "still-on-source"},
                {"needs_operator", "needs-operator"},
        };

        for (size_t i = 0; outcome && i < ELEMENTSOF(names); i++)
                if (STREQ(outcome, names[i][0]))
                        return names[i][1];
        return outcome ?: "unknown";
}

const char *format_time(int64_t usec, char text[static TEXT_MAX])
{
        time_t seconds = (time_t)(usec / (int64_t)USEC_PER_SEC);
        struct tm tm;

        if (usec <= 0 || !localtime_r(&seconds, &tm) ||
            strftime(text, TEXT_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
                snprintf(text, TEXT_MAX, "-");
        return text;
}

static bool wants_colour(FILE *f)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return isatty(fileno(f)) && !(no && *no) && term && !STREQ(term, "dumb");
}

const char *colour(FILE *f, enum colour c)
{
        static const char *const codes[] = {
                [COLOUR_NONE] = "\033[0m", [COLOUR_GOOD] = "\033[32m", [COLOUR_WARN] = "\033[33m",
                [COLOUR_BAD] = "\033[31m", [COLOUR_DIM] = "\033[2m",   [COLOUR_BOLD] = "\033[1m",
        };

        return wants_colour(f) ? codes[c] : "";
}
