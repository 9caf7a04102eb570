/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/start.h"

#include "handoff/fault.h"
#include "handoff/launch.h"
#include "handoff/resources.h"
#include "handoff/wait.h"

#include <elf.h>
#include <sys/ptrace.h>

static int fork_destination(struct handoff *h, struct launched *child, struct failure *f)
{
        struct destination *d = &h->destination;
        _cleanup_(inherit_done) struct inheritance in = {};
        struct launch l = {
                .twin = &h->source.process,
                .credentials = h->source.credentials,
                .binary = h->facts.destination.binary,
                .argv = d->cmdline.argv,
                .in_child = resources_in_child,
                .userdata = &d->cmdline_facts,
        };
        int r = resources_inherit(h, &in, f);

        if (r < 0)
                return r;
        inherit_sort(&in);
        l.fds = in.fds;
        l.n_fds = in.n;
        return launch_prepare(&l, child, f);
}

/* AT_ENTRY of a process that has just executed, as the kernel put it on its stack: where the program will
 * begin once the dynamic linker is done. */
static int read_entry(const struct process *p, uint64_t *ret)
{
        _cleanup_free_ char *data = NULL;
        size_t size;
        int r = process_read(p, "auxv", 4096, &data, &size);

        for (size_t at = 0; r >= 0 && at + sizeof(Elf64_auxv_t) <= size; at += sizeof(Elf64_auxv_t)) {
                Elf64_auxv_t entry;

                memcpy(&entry, data + at, sizeof(entry));
                if (entry.a_type == AT_ENTRY) {
                        *ret = entry.a_un.a_val;
                        return 0;
                }
        }
        return r < 0 ? r : -ENOENT;
}

static int check_binary(const struct handoff *h, struct failure *f)
{
        const struct destination *d = &h->destination;
        struct stat st;

        if (fstatat(d->process.proc_fd, "exe", &st, 0) < 0)
                return failure_set(f, errno, "cannot see the destination's binary: %s", strerror(errno));
        if (st.st_dev != d->file.st_dev || st.st_ino != d->file.st_ino)
                return failure_set(f, ESTALE, "%s was replaced by another file since it was checked",
                                   h->facts.destination.binary);
        return 0;
}

/* Lets the dynamic linker work, which is the only other writer of the slot, and stops at the program's first
 * instruction. */
static int run_to_entry(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        uint64_t entry = 0, saved = 0;
        int r = read_entry(&d->process, &entry);

        if (r >= 0)
                r = tracee_set_breakpoint(&d->tracee, entry, &saved);
        if (r >= 0)
                r = tracee_resume(&d->tracee, PTRACE_CONT, 0);
        if (r >= 0)
                r = tracee_wait(&d->tracee, h->step.deadline);
        if (r >= 0)
                r = tracee_clear_breakpoint(&d->tracee, entry, saved);
        if (r == -ESRCH)
                return handoff_obituary(h, f);
        if (r < 0)
                return failure_set(f, r, "cannot bring the destination to its entry point: %s", strerror(-r));
        d->shield.base = entry - d->shield.slot.entry;
        return 0;
}

static int note_process(struct handoff *h, const struct launched *child, struct failure *f)
{
        struct destination_facts *facts = &h->facts.destination;
        int r;

        facts->pid = h->destination.process.pid;
        facts->start_time = (int64_t)h->destination.process.start_time;
        facts->oom_score_adj = child->oom_score_adj;
        r = handoff_note(h, "destination", f);
        if (r >= 0)
                link_tell(&h->link, HANDOFF_PROCESS, HANDOFF_DESTINATION, 0, h->destination.process.pidfd);
        return r;
}

/* From the prepared child to the exec. */
static int execute(struct handoff *h, struct launched *child, struct failure *f)
{
        struct destination *d = &h->destination;
        int r;

        d->process = child->process;
        child->process = PROCESS_NULL;
        r = tracee_attach(&d->tracee, &d->process, PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC, f);
        if (r >= 0)
                r = note_process(h, child, f);
        if (r < 0)
                return r;
        launch_go(child);
        r = tracee_wait(&d->tracee, h->step.deadline);
        if (r == -ESRCH && launch_report(child, f) >= 0)
                return handoff_obituary(h, f);
        return r < 0 ? failure_set(f, r, "the destination does not start: %s", strerror(-r)) : 0;
}

int start_destination(struct handoff *h, struct failure *f)
{
        struct destination *d = &h->destination;
        _cleanup_(launch_done) struct launched child = LAUNCHED_NULL;
        int r = obituary_open(&d->obituary, f);

        if (r >= 0)
                r = fork_destination(h, &child, f);
        if (r >= 0)
                r = execute(h, &child, f);
        if (r >= 0)
                r = check_binary(h, f);
        if (r >= 0)
                r = run_to_entry(h, f);
        if (r >= 0)
                r = inject_prepare(&d->tracee, f); /* now, since the claim is part of the pause */
        /* The control experiment of the tests: without the shield the connections must die. */
        if (r >= 0 && !fault_is_set(h, "no-shield"))
                r = shield_set(&d->shield, &d->tracee, true, f);
        return r;
}
