/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/findings.h"

#include "cli/format.h"

static void print_finding(json_object *finding)
{
        static const struct {
                const char *severity, *mark;
                enum colour colour;
        } table[] = {
                {"passed", "ok", COLOUR_GOOD},
                {"info", "info", COLOUR_DIM},
                {"warning", "warning", COLOUR_WARN},
                {"blocker", "BLOCKER", COLOUR_BAD},
        };
        const char *severity = json_str(finding, "severity") ?: "info", *remedy = json_str(finding, "remedy");
        size_t i = 0;

        while (i < ELEMENTSOF(table) - 1 && !STREQ(table[i].severity, severity))
                i++;
        printf("  %s%-8s%s %-18s %s\n", colour(stdout, table[i].colour), table[i].mark,
               colour(stdout, COLOUR_NONE), json_str(finding, "id") ?: "?", json_str(finding, "what") ?: "");
        if (remedy && !STREQ(severity, "passed"))
                printf("  %-8s %-18s -> %s\n", "", "", remedy);
}

void findings_print(json_object *findings)
{
        for (size_t i = 0; findings && i < json_object_array_length(findings); i++)
                print_finding(json_object_array_get_idx(findings, i));
}

bool findings_have_blocker(json_object *findings)
{
        for (size_t i = 0; findings && i < json_object_array_length(findings); i++)
                if (STREQ(json_str(json_object_array_get_idx(findings, i), "severity") ?: "", "blocker"))
                        return true;
        return false;
}
