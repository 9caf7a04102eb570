/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How long the two ioctls of a hand-over take, with the guest at rest and with clients talking to it. */

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "stress.h"

#define CLIENTS   4
#define PUMP_USEC 1000 /* between two hand-overs, for the traffic to flow */

enum {
        RELEASE,
        CLAIM,
        CALLS,
};

static const char *const call_names[CALLS] = {"RESET_OWNER", "SET_OWNER"};

static uint64_t now_nsec(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * USEC_PER_SEC * NSEC_PER_USEC + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

static int measure(struct vmm *vmm, unsigned loops, uint64_t *times[CALLS])
{
        for (unsigned i = 0; i < loops; i++) {
                uint64_t start, released, end = test_now() + PUMP_USEC;

                do
                        vmm_pump_wait(vmm, 1);
                while (test_now() < end);
                EXPECT_OK(vmm_stop(vmm));
                start = now_nsec();
                EXPECT_OK(vmm_release(vmm));
                released = now_nsec();
                EXPECT_OK(vmm_claim(vmm));
                times[CLAIM][i] = now_nsec() - released;
                times[RELEASE][i] = released - start;
                EXPECT_OK(vmm_configure(vmm));
                EXPECT_OK(vmm_start(vmm));
        }
        return 0;
}

static void print(const char *state, unsigned loops, uint64_t *times[CALLS], double ret_medians[CALLS])
{
        for (int call = 0; call < CALLS; call++) {
                uint64_t *t = times[call];

                qsort(t, loops, sizeof(*t), compare);
                ret_medians[call] = t[loops / 2];
                printf("latency %-12s %-5s %10.1f %10.1f %10.1f\n", call_names[call], state, t[0] / 1e3,
                       t[loops / 2] / 1e3, t[loops * 99 / 100] / 1e3);
        }
}

static int measure_both(struct vmm *vmm, struct stress *stress, unsigned loops, uint64_t *times[CALLS])
{
        double idle[CALLS], load[CALLS];
        pid_t clients[CLIENTS];
        int r;

        printf("latency of %u calls, us           min     median        p99\n", loops);
        if (measure(vmm, loops, times))
                return 1;
        print("idle", loops, times, idle);
        for (int i = 0; i < CLIENTS; i++) {
                clients[i] = fork();
                if (clients[i] == 0)
                        _exit(stress_client(stress, i, i + 1));
        }
        r = measure(vmm, loops, times);
        for (int i = 0; i < CLIENTS; i++) {
                kill(clients[i], SIGKILL);
                waitpid(clients[i], NULL, 0);
        }
        if (r)
                return 1;
        print("load", loops, times, load);
        for (int call = 0; call < CALLS; call++)
                printf("latency %-12s load/idle, medians: %.2f\n", call_names[call], load[call] / idle[call]);
        EXPECT(stress->connections > 0);
        EXPECT_NO_COMPLAINT(vmm);
        return 0;
}

/* latency [--loops N] */
int latency_main(int argc, char **argv)
{
        unsigned loops = argc == 2 && STREQ(argv[0], "--loops") ? atoi(argv[1]) : 1000;
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_free_ uint64_t *releases = NULL, *claims = NULL;
        struct stress *stress =
                mmap(NULL, sizeof(*stress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        if (loops < 1) {
                fprintf(stderr, "latency: --loops takes a number from 1\n");
                return 2;
        }
        releases = calloc(loops, sizeof(*releases));
        claims = calloc(loops, sizeof(*claims));
        EXPECT(stress != MAP_FAILED && releases && claims);
        if (test_guest(STRESS_CID, &vmm))
                return 1;
        return measure_both(vmm, stress, loops, (uint64_t *[]){[RELEASE] = releases, [CLAIM] = claims});
}
