/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/connection.h"

#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NAMES_MAX 8

/* ---- a QEMU that takes fds, and makes them blocking, as QEMU does ---- */

static struct {
        char name[32];
        int fd;
} named[NAMES_MAX];

static void name_fd(const char *name, int fd)
{
        for (size_t i = 0; i < NAMES_MAX; i++)
                if (!named[i].name[0]) {
                        snprintf(named[i].name, sizeof(named[i].name), "%s", name);
                        named[i].fd = fd;
                        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
                        return;
                }
}

/* @close_it: or else it has become a chardev's. */
static void forget_fd(const char *name, bool close_it)
{
        for (size_t i = 0; i < NAMES_MAX; i++)
                if (STREQ(named[i].name, name)) {
                        named[i].name[0] = '\0';
                        if (close_it)
                                close(named[i].fd);
                }
}

static void obey(int qmp, json_object *request, int fd)
{
        static const char reply[] = "{\"return\":{}}\r\n";
        const char *command = json_str(request, "execute"),
                   *name = json_str(json_obj(request, "arguments"), "fdname") ?: "";

        if (STREQ(command, "getfd"))
                name_fd(name, fd);
        else
                forget_fd(name, STREQ(command, "closefd"));
        if (write(qmp, reply, strlen(reply)) < 0)
                _exit(0);
}

static ssize_t receive_byte(int qmp, char *byte, int *fd)
{
        union {
                char data[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec iov = {byte, 1};
        struct msghdr m = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(qmp, &m, MSG_CMSG_CLOEXEC);

        if (n > 0 && CMSG_FIRSTHDR(&m))
                memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(*fd));
        return n;
}

static void run_qemu(int qmp)
{
        struct json_tokener *tokener = json_tokener_new();
        int fd = -1;
        char byte;

        while (receive_byte(qmp, &byte, &fd) == 1) {
                json_object *request = json_tokener_parse_ex(tokener, &byte, 1);

                if (request)
                        obey(qmp, request, fd);
                json_object_put(request);
        }
        _exit(0);
}

/* ---- two of them, and a client of the first ---- */

struct fixture {
        struct handoff *h;
        char path[64];
        int client; /* the client's end */
        int number; /* of the connection in the source */
        pid_t source, destination;
};

static pid_t start_qemu(struct process *p, struct qmp **ret)
{
        int fds[2];
        pid_t pid;

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
                close(fds[0]);
                run_qemu(fds[1]);
        }
        close(fds[1]);
        EXPECT(qmp_new(fds[0], ret) == 0);
        EXPECT(process_open(p, pid, 0, NULL) >= 0);
        return pid;
}

/* The connection that the source is born with, as if it had accepted it. */
static int connect_client(struct fixture *x)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), accepted;

        snprintf(x->path, sizeof(x->path), "/tmp/cprd-test-%d", getpid());
        strcpy(address.sun_path, x->path);
        unlink(x->path);
        EXPECT(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listener, 1) == 0);
        x->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT(connect(x->client, (struct sockaddr *)&address, sizeof(address)) == 0);
        accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        close(listener);
        unlink(x->path);
        return accepted;
}

static struct fixture start(const char *driver)
{
        struct fixture x = {.h = handoff_new("test")};
        int journal = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        struct destination *d = &x.h->destination;
        _cleanup_free_ char *device = text_print("%s,chardev=agent", driver);

        EXPECT(journal_open(journal, true, &x.h->journal, NULL) >= 0);
        x.h->order.json = json_tokener_parse("{\"order\":{}}");
        x.h->step.deadline = now_usec() + 60 * USEC_PER_SEC;
        x.destination = start_qemu(&d->process, &d->qmp);
        x.number = connect_client(&x);
        x.source = start_qemu(&x.h->source.process, &x.h->source.qmp);
        close(x.number);
        cmdline_add(&d->cmdline, "-device");
        cmdline_add(&d->cmdline, device);
        d->cmdline_facts.listeners[d->cmdline_facts.n_listeners++] =
                (struct vm_socket){.path = text_copy(x.path),
                                   .label = text_copy("agent"),
                                   .source_label = text_copy("agent"),
                                   .fd = -EBADF};
        return x;
}

static void stop(struct fixture *x)
{
        kill(x->source, SIGKILL);
        kill(x->destination, SIGKILL);
        waitpid(x->source, NULL, 0);
        waitpid(x->destination, NULL, 0);
        close(x->client);
        handoff_free(x->h);
}

static bool is_readable(int fd)
{
        char byte;

        return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static int fact(const struct fixture *x, const char *name)
{
        json_object *list = x->h->facts.connections;

        EXPECT(list && json_object_array_length(list) == 1);
        return (int)json_int(json_object_array_get_idx(list, 0), name, -1);
}

/* What is behind a number of one of the QEMUs: whether the client's byte can be read there, and that it never
 * blocks. */
static bool has_client(const struct process *p, int number)
{
        _cleanup_close_ int fd = process_get_fd(p, number);

        EXPECT(fd >= 0);
        EXPECT(fcntl(fd, F_GETFL) & O_NONBLOCK);
        return is_readable(fd);
}

static void expect_quiet(const struct process *p, int number)
{
        _cleanup_close_ int fd = process_get_fd(p, number);

        EXPECT(!has_client(p, number));
        EXPECT(send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN);
}

static void the_client_goes_to_the_destination(void)
{
        _cleanup_(stop) struct fixture x = start("virtserialport");
        struct failure f = {};
        int place;

        EXPECT(write(x.client, "a", 1) == 1);
        EXPECT_INT(connections_match(x.h, &f), 0);
        EXPECT(has_client(&x.h->source.process, x.number));
        EXPECT_INT(connections_part(x.h, &f), 0);
        expect_quiet(&x.h->source.process, x.number);
        place = fact(&x, "place");
        expect_quiet(&x.h->destination.process, place);
        EXPECT_INT(connections_move(x.h, &f), 0);
        EXPECT(has_client(&x.h->destination.process, place));
        EXPECT_INT(connections_move(x.h, &f), 0); /* a recovery does it again */
        EXPECT(has_client(&x.h->destination.process, place));
}

static void the_source_has_it_back(void)
{
        _cleanup_(stop) struct fixture x = start("isa-serial");
        struct failure f = {};
        int saved, quiet;

        EXPECT(write(x.client, "a", 1) == 1);
        EXPECT_INT(connections_part(x.h, &f), 0);
        saved = fact(&x, "saved");
        quiet = fact(&x, "quietFd");
        EXPECT(saved != x.number);
        connections_rejoin(x.h);
        EXPECT(has_client(&x.h->source.process, x.number));
        EXPECT_INT(process_get_fd(&x.h->source.process, saved), -EBADF);
        EXPECT_INT(process_get_fd(&x.h->source.process, quiet), -EBADF);
        connections_rejoin(x.h);
        EXPECT(has_client(&x.h->source.process, x.number));
}

/* A rehearsal, or a failure before the connection was touched. */
static void a_source_that_kept_it(void)
{
        _cleanup_(stop) struct fixture x = start("isa-serial");
        struct failure f = {};

        EXPECT(write(x.client, "a", 1) == 1);
        EXPECT_INT(connections_match(x.h, &f), 0);
        connections_rejoin(x.h);
        EXPECT(has_client(&x.h->source.process, x.number));
}

/* As cprd-handoff finds it after the death of another: the facts are right, or older than what is there. */
static void a_number_that_is_something_else_by_now(void)
{
        _cleanup_(stop) struct fixture x = start("isa-serial");
        struct failure f = {};
        json_object *c;

        EXPECT(write(x.client, "a", 1) == 1);
        EXPECT_INT(connections_part(x.h, &f), 0);
        c = json_object_array_get_idx(x.h->facts.connections, 0);
        json_add_int(c, "live", 1);
        connections_rejoin(x.h);
        EXPECT_INT(process_get_fd(&x.h->source.process, 9999), -EBADF);
        EXPECT(process_is_alive(&x.h->source.process));
}

static void who_is_cut(void)
{
        _cleanup_(stop) struct fixture x = start("virtconsole");
        struct failure f = {};

        EXPECT(!connection_is_kept(x.h, "agent"));
        EXPECT_INT(connections_part(x.h, &f), 0);
        EXPECT(!x.h->facts.connections);
}

int main(void)
{
        EXPECT(tracee_setup() >= 0);
        TEST(the_client_goes_to_the_destination);
        TEST(the_source_has_it_back);
        TEST(a_source_that_kept_it);
        TEST(a_number_that_is_something_else_by_now);
        TEST(who_is_cut);
        return 0;
}
