/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "common/log.h"

#include <stdarg.h>
#include <systemd/sd-journal.h>

static char context_vm[64], context_handoff[64];

void log_set_context(const char *vm, const char *handoff)
{
        snprintf(context_vm, sizeof(context_vm), "%s", vm ? vm : "");
        snprintf(context_handoff, sizeof(context_handoff), "%s", handoff ? handoff : "");
}

/* systemd sets JOURNAL_STREAM when stderr is the journal (systemd.exec(5)): only then are fields worth
 * sending. */
static bool journal_is_there(void)
{
        static int there = -1;

        if (there < 0)
                there = getenv("JOURNAL_STREAM") != NULL;
        return there;
}

/* Much of a line comes from outside (paths, what QEMU says): none of it may start a new line or move the
 * reader's cursor. */
static void make_one_line(char *line)
{
        for (unsigned char *p = (unsigned char *)line; *p; p++)
                if (*p < ' ' || *p == 0x7f)
                        *p = ' ';
}

static void log_line(int priority, const char *vm, const char *handoff, char *line)
{
        make_one_line(line);
        if (!vm)
                vm = context_vm;
        if (!handoff)
                handoff = context_handoff;
        if (journal_is_there() &&
            sd_journal_send("MESSAGE=%s%s%s", vm, *vm ? ": " : "", line, "PRIORITY=%i", priority,
                            *vm ? "VM=%s" : "CPRD_VM=%s", vm, *handoff ? "HANDOFF=%s" : "CPRD_HANDOFF=%s",
                            handoff, NULL) >= 0)
                return;
        if (priority <= LOG_INFO || getenv("CPRD_DEBUG"))
                fprintf(stderr, "<%d>%s%s%s\n", priority, vm, *vm ? ": " : "", line);
}

void log_full(int priority, const char *vm, const char *handoff, const char *format, ...)
{
        char line[1024];
        va_list ap;

        va_start(ap, format);
        vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        log_line(priority, vm, handoff, line);
}

void log_failure(int priority, const struct failure *f, const char *format, ...)
{
        char line[1024];
        size_t n;
        va_list ap;

        va_start(ap, format);
        n = (size_t)vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        if (n < sizeof(line))
                snprintf(line + n, sizeof(line) - n, ": %s%s%s", f->what[0] ? f->what : strerror(f->error),
                         f->remedy[0] ? ". " : "", f->remedy);
        log_line(priority, NULL, NULL, line);
}
