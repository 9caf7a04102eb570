// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lab's guest: the only process of a small Linux, there to keep vsock connections busy and to say on its
 * console what became of them.
 *
 *              stream   seqpacket
 *   echo         1234        2234   sends back what it receives
 *   discard      1235        2235   receives until the peer shuts down its side, then sends a receipt (below)
 *   source       1236        2236   sends blocks (below) until the peer goes away
 *   blocks       1237           -   writes a disk and reads it again (blocks.c)
 *   act          1238           -   does something to the machine (act.c)
 *   counter      5000        6000   of the host: a little-endian 64-bit number every 20 ms: 0, 1, 2, ...
 *
 * The types have ports of their own, because AF_VSOCK's table of bound ports does not tell them apart. For
 * the same reason a host listens on its port 5000 with one type only; the seqpacket counter tries 6000 and
 * 5000. A counter whose connection was lost is not connected again, lest that go unnoticed.
 *
 * With "lab.ip=ADDRESS/BITS" on its command line the guest has a NIC with that address (nic.c), and its
 * stream services on the same ports of TCP; with "lab.queues=N" its driver uses N queue pairs of that NIC.
 *
 * The source sends blocks of 4096 bytes, each one message on a seqpacket socket, all numbers little-endian:
 *
 *   0   u64  number of the block on this connection: 0, 1, 2, ...
 *   8   u32  length of the payload: 4080
 *   12  u32  CRC-32 (as in zlib) of bytes 0 to 11 and 16 to 4095
 *   16       payload, pseudo-random
 *
 * The receipt is 16 bytes, after which the connection is closed:
 *
 *   0   u64  bytes received
 *   8   u32  CRC-32 of them
 *   12  u32  zero
 * Console lines of this program begin with "GUEST ": "GUEST READY" once all ports are open, then one line for
 * each connection that begins, ends ("closed", by the peer) or breaks ("lost", with the error).
 */

#define _GNU_SOURCE

#include "guest.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COUNTER_INTERVAL_NS (20 * 1000 * 1000)
#define CONNECT_RETRY_NS    (200 * 1000 * 1000)
#define MESSAGE_MAX         (64 * 1024)

struct receipt {
        uint64_t bytes;
        uint32_t crc;
        uint32_t zero;
};

struct service {
        const char *name;
        int type;
        unsigned port;
        int (*serve)(int fd, uint64_t *ret_bytes);
};

struct connection {
        const struct service *service;
        int fd;
};

static const char *type_name(int type)
{
        return type == SOCK_STREAM ? "stream" : "seqpacket";
}

static int serve_echo(int fd, uint64_t *ret_bytes)
{
        char data[MESSAGE_MAX];

        for (;;) {
                ssize_t n = receive(fd, data, sizeof(data));
                int r;

                if (n <= 0)
                        return n;
                r = send_all(fd, data, n);
                if (r < 0)
                        return r;
                *ret_bytes += n;
        }
}

static int serve_discard(int fd, uint64_t *ret_bytes)
{
        struct receipt receipt = {};
        char data[MESSAGE_MAX];
        uint32_t crc = 0;
        ssize_t n;

        while ((n = receive(fd, data, sizeof(data))) > 0) {
                crc = crc32(crc, data, n);
                *ret_bytes += n;
        }
        if (n < 0)
                return n;
        receipt.bytes = htole64(*ret_bytes);
        receipt.crc = htole32(crc);
        /* A peer that closed at once does not want it. */
        (void)send_all(fd, &receipt, sizeof(receipt));
        return 0;
}

static int serve_source(int fd, uint64_t *ret_bytes)
{
        struct block block;

        for (uint64_t number = 0;; number++) {
                int r;

                fill_block(&block, number);
                r = send_all(fd, &block, sizeof(block));
                /* The peer can end this only by closing; receiving tells that apart from a lost connection.
                 */
                if (r < 0)
                        return receive(fd, &block, 1) == 0 ? 0 : r;
                *ret_bytes += sizeof(block);
        }
}

static const struct service services[] = {
        {"echo", SOCK_STREAM, 1234, serve_echo},          {"discard", SOCK_STREAM, 1235, serve_discard},
        {"source", SOCK_STREAM, 1236, serve_source},      {"echo", SOCK_SEQPACKET, 2234, serve_echo},
        {"discard", SOCK_SEQPACKET, 2235, serve_discard}, {"source", SOCK_SEQPACKET, 2236, serve_source},
        {"blocks", SOCK_STREAM, 1237, serve_blocks},      {"act", SOCK_STREAM, 1238, serve_act},
};

static int start_thread(void *(*run)(void *), void *argument)
{
        pthread_attr_t attributes;
        pthread_t thread;
        int r;

        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, MESSAGE_MAX + 64 * 1024);
        r = pthread_create(&thread, &attributes, run, argument);
        pthread_attr_destroy(&attributes);
        return -r;
}

static void *run_connection(void *argument)
{
        struct connection *connection = argument;
        const struct service *service = connection->service;
        uint64_t bytes = 0;
        int r;

        r = service->serve(connection->fd, &bytes);
        if (r < 0)
                say("%s %s lost after %llu bytes: %s", service->name, type_name(service->type),
                    (unsigned long long)bytes, strerror(-r));
        else
                say("%s %s closed after %llu bytes", service->name, type_name(service->type),
                    (unsigned long long)bytes);
        close(connection->fd);
        free(connection);
        return NULL;
}

static void accept_one(const struct service *service, int listener)
{
        struct connection *connection;
        int fd, r;

        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
                say("%s %s cannot accept: %s", service->name, type_name(service->type), strerror(errno));
                pause_ns(CONNECT_RETRY_NS);
                return;
        }
        say("%s %s accepted", service->name, type_name(service->type));
        connection = malloc(sizeof(*connection));
        if (!connection) {
                say("%s %s dropped: out of memory", service->name, type_name(service->type));
                close(fd);
                return;
        }
        *connection = (struct connection){.service = service, .fd = fd};
        r = start_thread(run_connection, connection);
        if (r < 0) {
                say("%s %s dropped: %s", service->name, type_name(service->type), strerror(-r));
                close(fd);
                free(connection);
        }
}

struct listener {
        const struct service *service;
        int fd;
};

static void *run_listener(void *argument)
{
        struct listener *listener = argument;

        for (;;)
                accept_one(listener->service, listener->fd);
        return NULL;
}

/* Returns the listening socket or negative errno. */
static int listen_at(int type, const struct sockaddr *address, socklen_t size)
{
        int fd = socket(address->sa_family, type | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        if (bind(fd, address, size) < 0 || listen(fd, 64) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        return fd;
}

static int open_listener(const struct service *service, int family)
{
        const struct sockaddr_vm vsock = {
                .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = service->port};
        const struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_port = htons(service->port)};

        if (family == AF_VSOCK)
                return listen_at(service->type, (const struct sockaddr *)&vsock, sizeof(vsock));
        return listen_at(service->type, (const struct sockaddr *)&tcp, sizeof(tcp));
}

/* Returns the connected socket; keeps trying the ports in turn until one answers. */
static int connect_counter(int type, const unsigned *ports, size_t n_ports)
{
        for (size_t i = 0;; i = (i + 1) % n_ports) {
                struct sockaddr_vm address = {
                        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = ports[i]};
                int fd = socket(AF_VSOCK, type | SOCK_CLOEXEC, 0);

                if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
                        return fd;
                if (fd >= 0)
                        close(fd);
                pause_ns(CONNECT_RETRY_NS / n_ports);
        }
}

/* Returns 0 if the peer closed the connection, or the negative errno that it broke with. */
static int send_numbers(int fd, uint64_t *ret_sent)
{
        for (uint64_t n = 0;; n++) {
                uint64_t number = htole64(n);
                int r = send_all(fd, &number, sizeof(number));

                *ret_sent = n;
                if (r < 0)
                        return receive(fd, &number, sizeof(number)) == 0 ? 0 : r;
                pause_ns(COUNTER_INTERVAL_NS);
        }
}

static void count(int type, const unsigned *ports, size_t n_ports)
{
        uint64_t sent;
        int fd, r;

        do {
                fd = connect_counter(type, ports, n_ports);
                say("counter %s connected", type_name(type));
                r = send_numbers(fd, &sent);
                say("counter %s %s after %llu numbers%s%s", type_name(type), r < 0 ? "lost" : "closed",
                    (unsigned long long)sent, r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
                close(fd);
        } while (r == 0);
}

static void *run_stream_counter(void *argument)
{
        count(SOCK_STREAM, (const unsigned[]){5000}, 1);
        return NULL;
}

static void *run_seqpacket_counter(void *argument)
{
        count(SOCK_SEQPACKET, (const unsigned[]){6000, 5000}, 2);
        return NULL;
}

static void set_up_system(void)
{
        int console;

        mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
        mount("proc", "/proc", "proc", 0, NULL);
        console = open("/dev/console", O_RDWR);
        if (console >= 0) {
                dup2(console, STDIN_FILENO);
                dup2(console, STDOUT_FILENO);
                dup2(console, STDERR_FILENO);
        }
        load_module("vsock");
        load_module("vmw_vsock_virtio_transport_common");
        load_module("vmw_vsock_virtio_transport");
}

static bool open_services(struct listener *listeners, int family)
{
        bool good = true;

        for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
                const struct service *service = &services[i];
                int r;

                if (family == AF_INET && service->type != SOCK_STREAM)
                        continue;
                r = open_listener(service, family);
                listeners[i] = (struct listener){.service = service, .fd = r};
                if (r >= 0)
                        r = start_thread(run_listener, &listeners[i]);
                if (r < 0) {
                        say("cannot offer %s %s on port %u: %s", service->name, type_name(service->type),
                            service->port, strerror(-r));
                        good = false;
                }
        }
        return good;
}

static void *run_power_button(void *argument)
{
        heed_power_button();
        return NULL;
}

/* What comes after @name on the kernel's command line, up to its end; NULL: it is not there. The modules of
 * most options take time to load, so only a guest that is told to has them. */
static const char *option(const char *name)
{
        static char line[1024];
        int fd = line[0] ? -1 : open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
        const char *at;

        if (fd >= 0) {
                if (read(fd, line, sizeof(line) - 1) < 0)
                        line[0] = '\0';
                close(fd);
        }
        at = strstr(line, name);
        return at ? at + strlen(name) : NULL;
}

static bool open_network(void)
{
        static struct listener listeners[sizeof(services) / sizeof(services[0])];
        const char *address = option("lab.ip="), *queues = option("lab.queues=");

        if (!address)
                return true;
        return set_up_nic(address, queues ? atoi(queues) : 0) && open_services(listeners, AF_INET);
}

int main(void)
{
        static struct listener listeners[sizeof(services) / sizeof(services[0])];
        bool good;

        signal(SIGPIPE, SIG_IGN);
        set_up_system();
        fill_crc_table();
        good = open_services(listeners, AF_VSOCK) && open_network();
        if (start_thread(run_stream_counter, NULL) < 0 || start_thread(run_seqpacket_counter, NULL) < 0)
                good = false;
        if (option("lab.button") && start_thread(run_power_button, NULL) < 0)
                good = false;
        if (option("lab.channels") &&
            (start_thread(run_serial_port, NULL) < 0 || start_thread(run_virtio_port, NULL) < 0))
                good = false;
        if (good)
                say("READY");
        for (;;)
                pause();
}
