/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of /proc/PID that a process can influence: its name, the paths that it maps, its memory. The
 * input is all of them at once. */
#include "common/process.h"
#include "fuzz.h"
#include "handoff/inject.h"
#include "handoff/memfile.h"
#include "handoff/qdict.h"

#include <fcntl.h>
#include <sys/pidfd.h>

static const char *const files[] = {"status", "stat", "maps", "cgroup", "environ", "mem", "pagemap"};

static void read_status(const struct process *p)
{
        static const char *const keys[] = {"Uid", "CapPrm", "TracerPid", "Seccomp_filters"};
        uint64_t value;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++)
                process_status_number(p, keys[i], i == 1 ? 16 : 10, &value);
        process_pending_signals(p, &value);
        process_start_time(p->proc_fd, &value);
}

static void read_memory(const struct process *p)
{
        _cleanup_json_ json_object *found = NULL;
        _cleanup_free_ char *maps = NULL;
        char place[MEMFILE_PLACE_MAX];

        memfile_find(p, "/tmp", "ram0");
        if (process_read(p, "maps", 1U << 20, &maps, NULL) >= 0)
                memfile_at(p, maps, 0x1000, place);
        qdict_read(p, &found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct process p = PROCESS_NULL;
        struct tracee t = {.process = &p};
        struct failure f = {};

        for (size_t i = 0; i < ELEMENTSOF(files); i++)
                fuzz_file(files[i], data, size);
        p.pid = getpid();
        p.pidfd = pidfd_open(p.pid, 0);
        p.proc_fd = open(fuzz_directory(), O_PATH | O_DIRECTORY | O_CLOEXEC);
        FUZZ_EXPECT(p.pidfd >= 0 && p.proc_fd >= 0);
        read_status(&p);
        memfile_is_mapped(&p, "maps");
        read_memory(&p);
        inject_prepare(&t, &f);
        process_close(&p);
        return 0;
}
