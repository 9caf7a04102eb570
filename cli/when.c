/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/when.h"

#include <time.h>

static int parse_ago(const char *text, int64_t now, int64_t *ret)
{
        static const struct {
                const char *unit;
                int64_t seconds;
        } units[] = {{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
        char *end;
        long n;

        errno = 0;
        n = strtol(text, &end, 10);
        if (end == text || errno != 0 || n < 0 || n > 1000000)
                return -EINVAL;
        while (*end == ' ')
                end++;
        for (size_t i = 0; i < ELEMENTSOF(units); i++) {
                size_t length = strlen(units[i].unit);

                if (strncmp(end, units[i].unit, length) != 0 || (end[length] && !STREQ(end + length, " ago")))
                        continue;
                *ret = now - n * units[i].seconds * (int64_t)USEC_PER_SEC;
                return 0;
        }
        return -EINVAL;
}

/* Fills in @tm, a day, with what @text says. */
static bool parse_date(const char *text, struct tm *tm)
{
        static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%H:%M:%S",
                                              "%H:%M"};

        for (size_t i = 0; i < ELEMENTSOF(formats); i++) {
                struct tm tried = *tm;
                const char *end = strptime(text, formats[i], &tried);

                if (!end || *end)
                        continue;
                *tm = tried;
                return true;
        }
        return false;
}

int parse_when(const char *text, int64_t now, int64_t *ret)
{
        time_t seconds = (time_t)(now / (int64_t)USEC_PER_SEC);
        struct tm tm;

        if (parse_ago(text, now, ret) == 0)
                return 0;
        if (!localtime_r(&seconds, &tm))
                return -EINVAL;
        tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
        tm.tm_isdst = -1; /* that of the resulting day */
        if (STREQ(text, "yesterday"))
                tm.tm_mday--;
        else if (!STREQ(text, "today") && !parse_date(text, &tm))
                return -EINVAL;
        seconds = mktime(&tm);
        if (seconds < 0)
                return -EINVAL;
        *ret = (int64_t)seconds * (int64_t)USEC_PER_SEC;
        return 0;
}
