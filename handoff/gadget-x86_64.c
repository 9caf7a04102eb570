/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pieces of a target's own code that an injection (inject.h) runs. */
#include "handoff/inject.h"

#define MAPPING_MAX (64UL << 20)
/* A QEMU has some 100 MB of code; whoever maps thousands of files to keep us busy has none that we need. */
#define SEARCH_MAX (512UL << 20)

static const uint8_t gadget_code[] = {0x0f, 0x05, 0xc3}; /* syscall; ret */
static const uint8_t restorer_rax[] = {0x48, 0xc7, 0xc0, 0x0f, 0,
                                       0,    0,    0x0f, 0x05};          /* mov $15,%rax; syscall */
static const uint8_t restorer_eax[] = {0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05}; /* mov $15,%eax; syscall */

static void search(const uint8_t *code, size_t size, uint64_t address, struct tracee *t)
{
        const uint8_t *hit = memmem(code, size, gadget_code, sizeof(gadget_code));

        if (hit && !t->gadget)
                t->gadget = address + (uint64_t)(hit - code);
        hit = memchr(code, 0xcc, size);
        if (hit && !t->trap)
                t->trap = address + (uint64_t)(hit - code);
        hit = memmem(code, size, restorer_rax, sizeof(restorer_rax));
        if (!hit)
                hit = memmem(code, size, restorer_eax, sizeof(restorer_eax));
        if (hit && !t->restorer)
                t->restorer = address + (uint64_t)(hit - code);
}

/* Searches one line of /proc/PID/maps if it is code of a file. The vdso is left alone: it has no trampoline.
 * Returns how many bytes it has looked at. */
static size_t search_mapping(const char *line, struct tracee *t)
{
        unsigned long from, to;
        char permissions[5], path[8];
        _cleanup_free_ uint8_t *code = NULL;

        if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %7s", &from, &to, permissions, path) != 4 ||
            path[0] != '/' || permissions[2] != 'x' || to - from > MAPPING_MAX)
                return 0;
        code = mem_new(1, to - from);
        if (tracee_read(t, from, code, to - from) >= 0)
                search(code, to - from, from, t);
        return to - from;
}

/* The `ret` of an injected call has no counterpart on a shadow stack: the thread would die of it (#CP). */
static int refuse_shadow_stack(struct tracee *t, struct failure *f)
{
        _cleanup_free_ char *status = NULL;
        const char *features;

        if (process_read(t->process, "status", 65536, &status, NULL) < 0)
                return 0; /* it is gone: whoever needs it will notice */
        features = strstr(status, "\nx86_Thread_features:");
        if (!features)
                return 0;
        features++;
        if (!memmem(features, strcspn(features, "\n"), "shstk", strlen("shstk")))
                return 0;
        failure_set(f, ENOTSUP, "process %d has a shadow stack, on which no system call can be injected",
                    t->process->pid);
        return failure_remedy(f, "start the VM with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
}

int inject_prepare(struct tracee *t, struct failure *f)
{
        size_t searched = 0;
        _cleanup_free_ char *maps = NULL;
        int r;

        if (t->gadget && t->restorer && t->trap)
                return 0;
        t->gadget = t->restorer = t->trap = 0;
        r = refuse_shadow_stack(t, f);
        if (r < 0)
                return r;
        r = process_read(t->process, "maps", 4U << 20, &maps, NULL);
        if (r < 0)
                return failure_set(f, r, "cannot read the mappings of process %d: %s", t->process->pid,
                                   strerror(-r));
        /* Both are usually in the C library: look there first, then anywhere. */
        for (int pass = 0; pass < 2 && !(t->gadget && t->restorer && t->trap); pass++)
                for (char *line = maps, *end; line && *line && searched < SEARCH_MAX;
                     line = end ? end + 1 : NULL) {
                        char saved;

                        end = strchr(line, '\n');
                        saved = end ? *end : 0;
                        if (end)
                                *end = '\0';
                        if (pass > 0 || strstr(line, "/libc.so") || strstr(line, "/libc-"))
                                searched += search_mapping(line, t);
                        if (end)
                                *end = saved;
                }
        if (!t->gadget || !t->restorer || !t->trap)
                return failure_set(f, ENOTSUP,
                                   "process %d has no `syscall; ret` or no sigreturn trampoline in its "
                                   "code",
                                   t->process->pid);
        return 0;
}
