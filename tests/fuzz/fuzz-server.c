/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls on the API, against a whole daemon that has a VM and no helpers. A line feed stands for the NUL that
 * ends a message. */
#include "common/process.h"
#include "daemon/api.h"
#include "daemon/daemon.h"
#include "fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define TURNS_MAX 64

static struct daemon d;

static int helper_start(void *userdata, const char *id, struct failure *f)
{
        return failure_set(f, ENOENT, "there are none here");
}

static int helper_kill(void *userdata, const char *id)
{
        return 0;
}

/* This process is its QEMU. */
static void make_vm(void)
{
        static const char *const directories[] = {"run", "run/vms"};
        _cleanup_close_ int proc = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_free_ char *text = NULL;
        uint64_t start_time = 0;

        for (size_t i = 0; i < ELEMENTSOF(directories); i++) {
                _cleanup_free_ char *path = text_print("%s/%s", fuzz_directory(), directories[i]);

                FUZZ_EXPECT(mkdir(path, 0700) == 0);
        }
        FUZZ_EXPECT(process_start_time(proc, &start_time) == 0);
        text = text_print(
                "{\"name\":\"web1\",\"pid\":%d,\"startTime\":%llu,\"qmp\":\"/q\",\"binary\":\"/b\",\"cid\":42}",
                getpid(), (unsigned long long)start_time);
        fuzz_file("run/vms/web1.json", text, strlen(text));
}

static void start(void)
{
        static const struct queue_starter starter = {.start = helper_start, .kill = helper_kill};
        _cleanup_free_ char *runtime = text_print("%s/run", fuzz_directory());
        _cleanup_free_ char *state = text_print("%s/lib", fuzz_directory());
        struct config config;
        struct failure f = {};

        fuzz_be_quiet();
        make_vm();
        FUZZ_EXPECT(config_load(&config, "/nonexistent", &f) == 0);
        FUZZ_EXPECT(daemon_init(&d, runtime, state, &config, &f) == 0);
        FUZZ_EXPECT(daemon_start(&d, &starter, api_call, &f) == 0);
}

/* Runs until nothing more happens. */
static void turn(int peer)
{
        char reply[65536];

        for (int i = 0; i < TURNS_MAX && sd_event_run(d.event, 0) > 0; i++)
                while (recv(peer, reply, sizeof(reply), MSG_DONTWAIT) > 0)
                        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = fuzz_text(data, size);
        int peer, fd;

        if (!d.event)
                start();
        /* Probe starts processes, and would do so a thousand times a second. */
        if (memmem(data, size, "Probe", 5))
                return 0;
        for (size_t i = 0; i < size; i++)
                if (text[i] == '\n')
                        text[i] = '\0';
        fd = fuzz_socket(SOCK_STREAM, &peer);
        FUZZ_EXPECT(server_adopt(&d.server, fd) == 0);
        fuzz_send(peer, text, size);
        turn(peer);
        close(peer);
        turn(-1);
        return 0;
}
