/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/obituary.h"

#include <sys/mman.h>
#include <sys/wait.h>

int obituary_open(struct obituary *o, struct failure *f)
{
        o->log = memfd_create("destination-log", MFD_CLOEXEC);
        return o->log < 0
                       ? failure_set(f, errno, "cannot make a log for the destination: %s", strerror(errno))
                       : 0;
}

void obituary_close(struct obituary *o)
{
        o->log = close_fd(o->log);
}

static bool is_warning(const char *line)
{
        const char *found = strstr(line, "warning:");

        return found && found < line + strcspn(line, "\n");
}

/* QEMU puts its own path before its messages, and repeats itself on the way up: the first complaint is the
 * cause. Empty: it has only warned, or said nothing. */
static void first_complaint(const struct obituary *o, char *line, size_t size)
{
        char text[4096], *begin = text, *colon;
        ssize_t n = pread(o->log, text, sizeof(text) - 1, 0);

        text[n > 0 ? n : 0] = '\0';
        line[0] = '\0';
        while (begin && is_warning(begin)) {
                begin = strchr(begin, '\n');
                begin = begin ? begin + 1 : NULL;
        }
        if (!begin || !*begin)
                return;
        begin[strcspn(begin, "\n")] = '\0';
        colon = strstr(begin, ": ");
        snprintf(line, size, "%s", begin[0] != '-' && strstr(begin, "qemu") && colon ? colon + 2 : begin);
}

int obituary_write(const struct obituary *o, struct tracee *t, struct failure *f)
{
        struct process *p = t->process;
        int status = t->exited ? t->status : 0;
        char words[256], how[64] = "has exited";

        if (!t->exited && waitpid(p->pid, &status, WNOHANG | __WALL) > 0)
                *t = (struct tracee){.process = p, .exited = true, .status = status};
        if (WIFSIGNALED(status))
                snprintf(how, sizeof(how), "was killed by SIG%s", sigabbrev_np(WTERMSIG(status)) ?: "?");
        else if (WEXITSTATUS(status))
                snprintf(how, sizeof(how), "exited with status %d", WEXITSTATUS(status));
        first_complaint(o, words, sizeof(words));
        return failure_set(f, ESRCH, "the destination %s%s%s", how, words[0] ? ": " : "", words);
}

void obituary_await(const struct obituary *o, struct tracee *t, int msec, struct failure *f)
{
        if (process_exits(t->process, msec))
                obituary_write(o, t, f);
}
