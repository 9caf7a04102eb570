/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a cprd finds when it starts: an entry of the registry, a record of the history, a handoff's journal.
 * The first byte chooses which. */
#include "common/file.h"
#include "daemon/api.h"
#include "daemon/daemon.h"
#include "fuzz.h"

#include <fcntl.h>
#include <sys/stat.h>

static const char *const files[] = {"run/vms/web1.json", "lib/history/00001700000000000-5f0c2b-web1.json",
                                    "run/handoffs/5f0c2b/journal"};
static const char *const directories[] = {"run", "run/vms",    "run/handoffs", "run/handoffs/5f0c2b",
                                          "lib", "lib/history"};

static int helper_start(void *userdata, const char *id, struct failure *f)
{
        return failure_set(f, ENOENT, "there are none here");
}

static int helper_kill(void *userdata, const char *id)
{
        return 0;
}

static void make_directories(void)
{
        for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
                _cleanup_free_ char *path = text_print("%s/%s", fuzz_directory(), directories[i]);

                mkdir(path, 0700);
        }
}

static void start_and_stop(void)
{
        static const struct queue_starter starter = {.start = helper_start, .kill = helper_kill};
        _cleanup_free_ char *runtime = text_print("%s/run", fuzz_directory());
        _cleanup_free_ char *state = text_print("%s/lib", fuzz_directory());
        struct daemon d;
        struct config config;
        struct failure f = {};

        FUZZ_EXPECT(config_load(&config, "/nonexistent", &f) == 0);
        if (daemon_init(&d, runtime, state, &config, &f) >= 0 &&
            daemon_start(&d, &starter, api_call, &f) >= 0) {
                for (int i = 0; i < 8 && sd_event_run(d.event, 0) > 0; i++)
                        ;
                json_object_put(history_list(&d.history, NULL, NULL));
        }
        daemon_done(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        int here = open(fuzz_directory(), O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (size > 0) {
                make_directories();
                fuzz_file(files[data[0] % ELEMENTSOF(files)], data + 1, size - 1);
                start_and_stop();
        }
        file_remove_tree(here, "run");
        file_remove_tree(here, "lib");
        close(here);
        return 0;
}
