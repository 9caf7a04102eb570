/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The stress's machines (the processes that hand the device round) and its controller. */

#include "stress.h"

#include <getopt.h>
#include <linux/vhost.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define MACHINES    3
#define CLIENTS     7 /* by default */
#define CLIENTS_MAX 32
#define LISTENERS   2
#define DWELL_USEC  400 /* usual maximum that a machine keeps the device, by default */
#define GUEST_OPEN  8   /* open connections of the guest */

/* No hand-over for that long: */
#define STUCK_USEC (30 * USEC_PER_SEC)
/* For the guest's connections to end; closing may take the kernel 8 s: */
#define REST_USEC     (20 * USEC_PER_SEC)
#define PROGRESS_USEC (10 * USEC_PER_SEC)

/* ---- a machine ---- */

static int start_guest(struct vmm *vmm, struct dice *dice)
{
        eventfd_t value;

        EXPECT_OK(vmm_claim(vmm));
        EXPECT_OK(vmm_configure(vmm));
        if (dice_roll(dice, 200) == 0)
                test_sleep(30000); /* what SET_VRING_KICK triggered is over by then */
        if (dice_roll(dice, 2) == 0)
                for (int ring = 0; ring < VMM_RINGS; ring++)
                        (void)eventfd_read(vmm_kick_fd(vmm, ring), &value);
        EXPECT_OK(vmm_start(vmm));
        return 0;
}

static void open_connection(struct stress *stress, struct vmm *vmm, struct dice *dice)
{
        const struct vmm_stats *stats = vmm_stats(vmm);
        bool seqpacket = dice_roll(dice, 3) == 0;
        uint32_t port;

        if (LOOK(stress->stop) || LOOK(stress->guest_ports) - LOOK(stress->guest_done) >= GUEST_OPEN ||
            stats->refused)
                return;
        port = STRESS_GUEST_PORT + COUNT(stress->guest_ports);
        if (vmm_guest_connect(vmm, seqpacket ? VIRTIO_VSOCK_TYPE_SEQPACKET : VIRTIO_VSOCK_TYPE_STREAM, port,
                              seqpacket ? STRESS_MESSAGE_PORT : STRESS_STREAM_PORT,
                              stress_guest_amount(port, seqpacket)) < 0)
                COUNT(stress->guest_done);
}

/* Plays the guest for a while, usually a very short one. */
static void run_guest(struct stress *stress, struct vmm *vmm, struct dice *dice)
{
        uint32_t hold = dice_roll(dice, 20) == 0 ? 10 * stress->hold : stress->hold;
        uint64_t end = test_now() + dice_roll(dice, hold + 1);

        if (dice_roll(dice, 8) == 0)
                open_connection(stress, vmm, dice);
        vmm_pump(vmm);
        while (test_now() < end)
                vmm_pump_wait(vmm, 1);
        vmm_pump(vmm);
}

static void die(struct stress *stress, struct dice *dice)
{
        COUNT(stress->orphans);
        SET(stress->orphaned, true);
        switch (dice_roll(dice, 3)) {
        case 0:
                _exit(0);
        case 1:
                execl("/proc/self/exe", "vhost-vsock-test", "sleep", "0", NULL);
                _exit(1);
        default:
                raise(SIGKILL);
        }
}

/* The clients have finished: what is under way must end, and then nothing may be left. */
static int rest(struct stress *stress, struct vmm *vmm)
{
        uint64_t end = test_now() + REST_USEC;
        const struct vmm_stats *stats = vmm_stats(vmm);

        while (vmm_guest_connections(vmm) > 0 || LOOK(stress->guest_done) < LOOK(stress->guest_ports)) {
                vmm_pump_wait(vmm, 5);
                if (test_now() > end)
                        FAIL("%u connections are left in the guest, %llu of its own not finished",
                             vmm_guest_connections(vmm),
                             (unsigned long long)(LOOK(stress->guest_ports) - LOOK(stress->guest_done)));
        }
        EXPECT_NO_COMPLAINT(vmm);
        EXPECT(stats->refused == 0 && stats->connected == LOOK(stress->guest_ports));
        __atomic_fetch_add(&stress->bytes, stats->bytes_received, __ATOMIC_RELAXED);
        EXPECT_OK(vmm_give(vmm));
        SET(stress->finished, true);
        return 0;
}

int stress_machine(struct stress *stress, int channel, int next, bool may_die, uint64_t seed)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        struct dice dice = {seed};

        EXPECT_OK(vmm_receive(channel, &vmm));
        for (;;) {
                if (start_guest(vmm, &dice))
                        return 1;
                run_guest(stress, vmm, &dice);
                if (LOOK(stress->stop) && LOOK(stress->clients) == 0)
                        return rest(stress, vmm);
                if (may_die && dice_roll(&dice, 500) == 0)
                        die(stress, &dice);
                if (dice_roll(&dice, 2) == 0)
                        EXPECT_OK(vmm_stop(vmm)); /* or be stopped by the release */
                EXPECT_OK(vmm_release(vmm));
                COUNT(stress->handovers);
                EXPECT_OK(vmm_send(vmm, next));
                vmm_park(vmm);
                EXPECT_OK(vmm_receive_parked(channel, vmm));
        }
}

/* ---- the controller ---- */

struct controller {
        struct stress *stress;
        struct vmm *custody;
        uint64_t seed;
        uint64_t begun; /* test_now() */
        bool may_die;
        bool reclaimed; /* the dead owner's device is reclaimed, its successor not there yet */
        int channels[MACHINES][2];
        pid_t machines[MACHINES];
        int n_clients;
        pid_t clients[CLIENTS_MAX];
        pid_t listeners[LISTENERS];
};

static pid_t spawn(void)
{
        fflush(NULL);
        return fork();
}

static void spawn_machine(struct controller *c, int i)
{
        /* Each successor gets a seed of its own: with that of the machine it replaces, it would die just as
         * soon. */
        uint64_t seed = pattern_mix(c->seed + 1000 + i + LOOK(c->stress->orphans) * MACHINES);

        c->machines[i] = spawn();
        if (c->machines[i] == 0)
                _exit(stress_machine(c->stress, c->channels[i][0], c->channels[(i + 1) % MACHINES][1],
                                     c->may_die, seed));
}

static int begin(struct controller *c)
{
        for (int i = 0; i < MACHINES; i++)
                if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->channels[i]) < 0)
                        FAIL("socketpair: %s", strerror(errno));
        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = STRESS_CID}, -EBADF, &c->custody));
        for (int i = 0; i < LISTENERS; i++) {
                c->listeners[i] = spawn();
                if (c->listeners[i] == 0)
                        _exit(stress_listener(c->stress, i));
        }
        for (int i = 0; i < MACHINES; i++)
                spawn_machine(c, i);
        EXPECT_OK(vmm_send(c->custody, c->channels[0][1]));
        while (vmm_stats(c->custody)->claims == 0) /* before its first start, sends may fail */
                test_sleep(1000);
        test_sleep(20000);
        c->stress->clients = c->n_clients;
        for (int i = 0; i < c->n_clients; i++) {
                c->clients[i] = spawn();
                if (c->clients[i] == 0)
                        _exit(stress_client(c->stress, i, pattern_mix(c->seed + i)));
        }
        return 0;
}

/* Machine @i has died as it should: a new one gets its device. */
static int replace_machine(struct controller *c, int i)
{
        if (!c->reclaimed)
                EXPECT_OK(vmm_release(c->custody));
        c->reclaimed = false;
        SET(c->stress->orphaned, false);
        spawn_machine(c, i);
        return vmm_send(c->custody, c->channels[i][1]) < 0;
}

/* Handles one child that has ended. */
static int child_ended(struct controller *c, pid_t pid, int status)
{
        for (int i = 0; i < MACHINES; i++) {
                if (c->machines[i] != pid)
                        continue;
                c->machines[i] = 0;
                if (LOOK(c->stress->orphaned))
                        return replace_machine(c, i);
                return !LOOK(c->stress->finished);
        }
        for (int i = 0; i < c->n_clients; i++) {
                if (c->clients[i] != pid)
                        continue;
                c->clients[i] = 0;
                __atomic_fetch_sub(&c->stress->clients, 1, __ATOMIC_RELEASE);
                return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        }
        return 1; /* a listener never ends by itself */
}

/* A living owner is never robbed, though the controller keeps trying. A dying one may be found dead before
 * its parent learns of it; it has announced that beforehand. */
static int try_to_rob(struct controller *c)
{
        int r;

        if (c->reclaimed)
                return 0;
        r = vmm_release(c->custody);
        if (r == 0)
                EXPECT(LOOK(c->stress->orphaned));
        else
                EXPECT_RESULT(r, -EPERM);
        c->reclaimed = r == 0;
        return 0;
}

static void report(const struct controller *c)
{
        const struct stress *s = c->stress;
        double seconds = (double)(test_now() - c->begun) / USEC_PER_SEC;

        printf("stress: %llu hand-overs in %.1f s (%.0f/s), %llu owners died; %llu connections of the host, %llu of the "
               "guest; %.1f MB; %llu timeouts, %llu signals, %llu refusals\n",
               (unsigned long long)s->handovers, seconds, s->handovers / (seconds > 0 ? seconds : 1),
               (unsigned long long)s->orphans, (unsigned long long)s->connections,
               (unsigned long long)s->guest_done, s->bytes / 1e6, (unsigned long long)s->timeouts,
               (unsigned long long)s->signals, (unsigned long long)s->refusals);
        fflush(stdout);
}

static int control(struct controller *c, uint64_t usec, uint64_t loops)
{
        uint64_t start = test_now(), moved = start, told = start, seen = 0;
        int status;

        while (!LOOK(c->stress->finished)) {
                uint64_t now = test_now();
                pid_t pid = waitpid(-1, &status, WNOHANG);

                if (pid > 0 && child_ended(c, pid, status))
                        return 1;
                if (now - start > usec || (loops > 0 && LOOK(c->stress->handovers) >= loops))
                        SET(c->stress->stop, true);
                if (LOOK(c->stress->handovers) != seen) {
                        seen = LOOK(c->stress->handovers);
                        moved = now;
                }
                if (now - moved > STUCK_USEC)
                        FAIL("no hand-over for %llu s", STUCK_USEC / USEC_PER_SEC);
                if (now - told > PROGRESS_USEC) {
                        report(c);
                        told = now;
                }
                if (try_to_rob(c))
                        return 1;
                if (pid <= 0 && !LOOK(c->stress->orphaned))
                        test_sleep(2000);
        }
        report(c);
        return 0;
}

static void end_children(pid_t *pids, int n)
{
        for (int i = 0; i < n; i++)
                if (pids[i] > 0)
                        kill(pids[i], SIGKILL);
        for (int i = 0; i < n; i++)
                for (int tries = 0; pids[i] > 0 && waitpid(pids[i], NULL, WNOHANG) == 0 && tries < 2000;
                     tries++)
                        test_sleep(1000);
}

static int run(struct controller *c, uint64_t usec, uint64_t loops)
{
        int r;

        printf("stress: seed %llu\n", (unsigned long long)c->seed);
        c->begun = test_now();
        r = begin(c) || control(c, usec, loops);
        if (r && c->custody && vmm_complaint(c->custody))
                fprintf(stderr, "        the guest complains: %s\n", vmm_complaint(c->custody));
        if (r)
                report(c);
        end_children(c->machines, MACHINES);
        end_children(c->clients, c->n_clients);
        end_children(c->listeners, LISTENERS);
        vmm_free(c->custody);
        printf("stress: %s\n", r ? "FAILED" : "passed");
        return r;
}

/* stress [--seconds N] [--loops N] [--seed N] [--clients N] [--pause USEC] [--hold USEC] [--no-kill] */
int stress_main(int argc, char **argv)
{
        static const struct option options[] = {
                {"seconds", required_argument, NULL, 's'}, {"loops", required_argument, NULL, 'l'},
                {"seed", required_argument, NULL, 'r'},    {"no-kill", no_argument, NULL, 'k'},
                {"clients", required_argument, NULL, 'c'}, {"pause", required_argument, NULL, 'p'},
                {"hold", required_argument, NULL, 'h'},    {},
        };
        struct controller c = {.may_die = true, .n_clients = CLIENTS, .seed = (uint64_t)time(NULL)};
        uint64_t seconds = 0, loops = 0;
        int o;

        c.stress = mmap(NULL, sizeof(*c.stress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (c.stress == MAP_FAILED)
                FAIL("mmap: %s", strerror(errno));
        c.stress->hold = DWELL_USEC;
        optind = 0;
        while ((o = getopt_long(argc + 1, argv - 1, "", options, NULL)) != -1) {
                if (o == 's')
                        seconds = strtoull(optarg, NULL, 10);
                else if (o == 'l')
                        loops = strtoull(optarg, NULL, 10);
                else if (o == 'r')
                        c.seed = strtoull(optarg, NULL, 10);
                else if (o == 'k')
                        c.may_die = false;
                else if (o == 'c')
                        c.n_clients = atoi(optarg);
                else if (o == 'p')
                        c.stress->pause = strtoull(optarg, NULL, 10);
                else if (o == 'h')
                        c.stress->hold = strtoul(optarg, NULL, 10) % USEC_PER_SEC;
                else
                        return 2;
        }
        if (c.n_clients < 1 || c.n_clients > CLIENTS_MAX) {
                fprintf(stderr, "stress: --clients takes 1 to %d\n", CLIENTS_MAX);
                return 2;
        }
        if (seconds == 0)
                seconds = loops > 0 ? 24 * 3600 : 30;
        return run(&c, seconds * USEC_PER_SEC, loops);
}
