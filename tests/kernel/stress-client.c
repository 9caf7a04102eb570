/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The host's processes in the stress. Every byte is checked, every wait is bounded, and every error must be
 * one that the client caused itself. */

#include "stress.h"

#include <signal.h>
#include <sys/time.h>

#define STALLED_SEC  30 /* a call blocked that long has lost something */
#define AMOUNT_MAX   60000
#define MESSAGES_MAX 12

struct client {
        struct stress *stress;
        unsigned index;
        struct dice dice;
        bool persistent; /* one connection for the whole run */
        int type;
};

static void ignore_signal(int signal)
{
        (void)signal;
}

static void interrupt_after(uint64_t usec)
{
        const struct itimerval timer = {.it_value.tv_usec = usec};

        setitimer(ITIMER_REAL, &timer, NULL);
}

static int new_socket(int type)
{
        const struct timeval tv = {.tv_sec = STALLED_SEC};
        int fd = host_socket(type);

        if (fd >= 0) {
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
                setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
                host_connect_timeout(fd, STALLED_SEC * USEC_PER_SEC);
        }
        return fd;
}

/* Returns the bytes, or fails the client; a signal only makes it try again. */
static ssize_t receive_some(struct host_stream *s, struct stress *stress, const char *what)
{
        ssize_t n;

        do
                n = host_receive(s, SIZE_MAX);
        while (n == -EINTR);
        if (n < 0)
                fprintf(stderr, "        %s, ports %u to %u: %s after %llu bytes received, %llu sent\n", what,
                        s->host_port, s->guest_port, n == -EAGAIN ? "stalled" : strerror(-n),
                        (unsigned long long)s->received, (unsigned long long)s->sent);
        else
                __atomic_fetch_add(&stress->bytes, n, __ATOMIC_RELAXED);
        return n;
}

static ssize_t send_some(struct host_stream *s, size_t size, const char *what)
{
        ssize_t n;

        do
                n = host_send(s, size);
        while (n == -EINTR);
        if (n < 0)
                fprintf(stderr, "        %s, ports %u to %u: send: %s after %llu bytes\n", what, s->host_port,
                        s->guest_port, n == -EAGAIN ? "stalled" : strerror(-n), (unsigned long long)s->sent);
        return n;
}

/* ---- what a client does with a connection ---- */

static int echo_round(struct client *c, struct host_stream *s)
{
        if (s->seqpacket) {
                uint64_t goal = s->sent_messages + 1 + dice_roll(&c->dice, MESSAGES_MAX);

                while (s->sent_messages < goal)
                        if (send_some(s, 0, "seqpacket echo") < 0)
                                return 1;
                while (s->received_messages < goal)
                        if (receive_some(s, c->stress, "seqpacket echo") <= 0)
                                return 1;
        } else {
                uint64_t goal = s->sent + 1 + dice_roll(&c->dice, AMOUNT_MAX);

                while (s->sent < goal)
                        if (send_some(s, goal - s->sent, "echo") < 0)
                                return 1;
                while (s->received < goal)
                        if (receive_some(s, c->stress, "echo") <= 0)
                                return 1;
        }
        return 0;
}

/* Sends, says so, and compares with what the guest says it got. */
static int sink_round(struct client *c, struct host_stream *s)
{
        unsigned rounds = 1 + dice_roll(&c->dice, MESSAGES_MAX);
        uint64_t sent, heard = 0;
        ssize_t n;

        while (rounds-- > 0)
                if (send_some(s, 1 + dice_roll(&c->dice, 16000), "sink") < 0)
                        return 1;
        if (shutdown(s->fd, SHUT_WR) < 0)
                FAIL("shutdown: %s", strerror(errno));
        do
                n = recv(s->fd, &heard, sizeof(heard), MSG_WAITALL);
        while (n < 0 && errno == EINTR);
        sent = s->seqpacket ? s->sent_messages : s->sent;
        if (n != sizeof(heard) || heard != sent)
                FAIL("sink, host port %u: sent %llu, the guest got %llu (%s)", s->host_port,
                     (unsigned long long)sent, (unsigned long long)heard,
                     n < 0    ? strerror(errno)
                     : n == 0 ? "end of file"
                              : "an answer");
        return 0;
}

static int use_connection(struct client *c, int fd, uint32_t port)
{
        struct host_stream s;
        int r = 0;

        COUNT(c->stress->connections);
        EXPECT_OK(host_stream_init(fd, &s));
        /* A send() on SOCK_SEQPACKET that is interrupted while it waits for credit has sent part of a
         * message, and no way to send the rest: so it is in every kernel. */
        if (dice_roll(&c->dice, 3) == 0 && !s.seqpacket) {
                interrupt_after(20 + dice_roll(&c->dice, 3000));
                COUNT(c->stress->signals);
        }
        if (port == VMM_PORT_SINK && dice_roll(&c->dice, 3) > 0) {
                r = sink_round(c, &s);
        } else if (port == VMM_PORT_ECHO && dice_roll(&c->dice, 3) > 0) {
                do {
                        r = echo_round(c, &s);
                        test_sleep(c->stress->pause);
                } while (r == 0 && c->persistent && !LOOK(c->stress->stop));
        } else { /* closed in the middle of it */
                r = send_some(&s, 1 + dice_roll(&c->dice, 10000), "close") < 0;
        }
        interrupt_after(0);
        return r;
}

/* A connect() with so little time, or a signal so soon, that it may fail. */
static int hasty_connect(struct client *c, int fd, uint32_t port)
{
        bool by_signal = dice_roll(&c->dice, 2);
        uint64_t usec = 1 + dice_roll(&c->dice, 4000);
        int r;

        if (by_signal)
                interrupt_after(usec);
        else
                host_connect_timeout(fd, usec);
        r = host_connect(fd, STRESS_CID, port);
        interrupt_after(0);
        if (r == -EINTR && by_signal)
                COUNT(c->stress->signals);
        else if (r == -ETIMEDOUT && !by_signal)
                COUNT(c->stress->timeouts);
        else if (r == 0)
                return use_connection(c, fd, port);
        else
                FAIL("hasty connect: %s", strerror(-r));
        return 0;
}

static int client_round(struct client *c)
{
        static const uint32_t ports[] = {VMM_PORT_SINK, VMM_PORT_ECHO};
        uint32_t port = c->persistent ? VMM_PORT_ECHO : ports[dice_roll(&c->dice, ELEMENTSOF(ports))];
        int type = c->persistent ? c->type : dice_roll(&c->dice, 3) ? SOCK_STREAM : SOCK_SEQPACKET;
        _cleanup_close_ int fd = new_socket(type);
        uint32_t what = c->persistent ? 99 : dice_roll(&c->dice, 20);

        EXPECT(fd >= 0);
        if (what == 0) {
                EXPECT_RESULT(host_connect(fd, STRESS_CID, 9), -ECONNRESET); /* nobody listens there */
                COUNT(c->stress->refusals);
                return 0;
        }
        if (what == 1) { /* nobody answers there, so it must be a hasty one */
                host_connect_timeout(fd, 1 + dice_roll(&c->dice, 10000));
                EXPECT_RESULT(host_connect(fd, STRESS_CID, VMM_PORT_SILENT), -ETIMEDOUT);
                COUNT(c->stress->timeouts);
                return 0;
        }
        if (what < 6)
                return hasty_connect(c, fd, port);
        EXPECT_OK(host_connect(fd, STRESS_CID, port));
        return use_connection(c, fd, port);
}

int stress_client(struct stress *stress, unsigned index, uint64_t seed)
{
        const struct sigaction action = {.sa_handler = ignore_signal}; /* without SA_RESTART */
        struct client c = {
                .stress = stress,
                .index = index,
                .dice.state = seed,
                .persistent = index < 2,
                .type = index == 0 ? SOCK_STREAM : SOCK_SEQPACKET,
        };

        sigaction(SIGALRM, &action, NULL);
        while (!LOOK(stress->stop)) {
                if (client_round(&c))
                        return 1;
                test_sleep(stress->pause);
        }
        return 0;
}

/* ---- where the guest's connections go ---- */

uint64_t stress_guest_amount(uint32_t guest_port, bool seqpacket)
{
        return pattern_mix(guest_port) % (seqpacket ? 10 : 400000);
}

static int take_connection(struct stress *stress, int fd, bool seqpacket)
{
        struct host_stream s;
        uint64_t wanted;
        ssize_t n;

        EXPECT_OK(host_stream_init(fd, &s));
        while ((n = receive_some(&s, stress, "from the guest")) > 0)
                ;
        if (n < 0)
                return 1;
        wanted = stress_guest_amount(s.guest_port, seqpacket);
        if ((seqpacket ? s.received_messages : s.received) != wanted)
                FAIL("from guest port %u: %llu messages, %llu bytes, not %llu", s.guest_port,
                     (unsigned long long)s.received_messages, (unsigned long long)s.received,
                     (unsigned long long)wanted);
        COUNT(stress->guest_done);
        return 0;
}

int stress_listener(struct stress *stress, bool seqpacket)
{
        const struct timeval tv = {.tv_sec = STALLED_SEC};
        _cleanup_close_ int listener = host_listen(seqpacket ? SOCK_SEQPACKET : SOCK_STREAM,
                                                   seqpacket ? STRESS_MESSAGE_PORT : STRESS_STREAM_PORT);

        EXPECT(listener >= 0);
        for (;;) {
                _cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

                if (fd < 0)
                        FAIL("accept: %s", strerror(errno));
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
                if (take_connection(stress, fd, seqpacket))
                        return 1;
        }
}
