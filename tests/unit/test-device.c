/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What passes for the device, here /dev/null, and that nobody can make the check hang: a FUSE server that no
 * longer answers holds up fstat(2), but not this.
 */
#include "common/device.h"
#include "test.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NODE "/dev/null"

static void expect(int fd, int expected, const char *what)
{
        struct failure f = {};
        int r = device_check(fd, NODE, &f);

        if (r != expected)
                FAIL("%s: %d (%s), expected %d", what, r, f.what, expected);
        EXPECT((r < 0) == (f.what[0] != '\0'));
        close(fd);
}

static void kinds(void)
{
        int fds[2];

        expect(open(NODE, O_RDWR | O_CLOEXEC), 0, NODE);
        expect(open("/dev/zero", O_RDWR | O_CLOEXEC), -ENODEV, "another device");
        expect(open(NODE, O_PATH | O_CLOEXEC), -ENODEV, "O_PATH");
        expect(open("/", O_RDONLY | O_CLOEXEC), -ENODEV, "a directory");
        expect(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), -ENODEV, "a file");
        expect(memfd_create(NODE, MFD_CLOEXEC), -ENODEV, "a memory file");
        expect(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), -ENODEV, "a socket");
        expect(epoll_create1(EPOLL_CLOEXEC), -ENODEV, "an epoll instance");
        EXPECT(pipe2(fds, O_CLOEXEC) == 0);
        expect(fds[0], -ENODEV, "a pipe");
        close(fds[1]);
        EXPECT_INT(device_check(-EBADF, NODE, NULL), -ENODEV);
        EXPECT_INT(device_check(0, "/nonexistent", NULL) < 0, 1);
}

static void paths(void)
{
        int fd = open(NODE, O_RDONLY | O_CLOEXEC);
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        EXPECT_INT(device_check_path(AT_FDCWD, path, NODE, NULL), 0);
        EXPECT_INT(device_check_path(AT_FDCWD, "/dev/zero", NODE, NULL), -ENODEV);
        EXPECT_INT(device_check_path(AT_FDCWD, "/nonexistent", NODE, NULL), -ENOENT);
        EXPECT_INT(device_check_path(AT_FDCWD, NODE, "/", NULL), -ENODEV);
        close(fd);
}

/* ---- a FUSE server ---- */

static char mount_point[] = "/tmp/cprd-test-device-XXXXXX";

static void serve_reply(int fuse, uint64_t unique, int error, const void *data, size_t size)
{
        struct fuse_out_header h = {.len = (uint32_t)(sizeof(h) + size), .error = error, .unique = unique};
        char reply[512];

        memcpy(reply, &h, sizeof(h));
        if (size)
                memcpy(reply + sizeof(h), data, size);
        if (write(fuse, reply, h.len) < 0 && errno != ENOENT)
                _exit(2);
}

static void serve_one(int fuse, const struct fuse_in_header *in)
{
        struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = 4096};
        struct fuse_entry_out entry = {.nodeid = 2, .attr = {.ino = 2, .mode = S_IFREG | 0644, .nlink = 1}};
        struct fuse_attr_out attr = {.attr = {.ino = in->nodeid, .mode = S_IFDIR | 0755, .nlink = 2}};
        struct fuse_open_out open_out = {.fh = 1};

        switch (in->opcode) {
        case FUSE_INIT:
                return serve_reply(fuse, in->unique, 0, &init, sizeof(init));
        case FUSE_LOOKUP:
                return serve_reply(fuse, in->unique, 0, &entry, sizeof(entry));
        case FUSE_GETATTR:
                if (in->nodeid == 2)
                        attr.attr = entry.attr;
                return serve_reply(fuse, in->unique, 0, &attr, sizeof(attr));
        case FUSE_OPEN:
                return serve_reply(fuse, in->unique, 0, &open_out, sizeof(open_out));
        default:
                return serve_reply(fuse, in->unique, -ENOSYS, NULL, 0);
        }
}

/* Serves until somebody writes to @stop; then it only holds the connection open. */
static pid_t serve(int fuse, int stop)
{
        pid_t pid = fork();
        struct pollfd fds[] = {{.fd = stop, .events = POLLIN}, {.fd = fuse, .events = POLLIN}};
        static char request[1 << 17] __attribute__((aligned(8)));

        if (pid != 0)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
                poll(fds, 2, -1);
                if (fds[0].revents)
                        for (;;)
                                pause();
                if (read(fuse, request, sizeof(request)) < (ssize_t)sizeof(struct fuse_in_header))
                        _exit(1);
                serve_one(fuse, (void *)request);
        }
}

/* In a child, which from then on cannot be killed, since its close() waits as well. */
static pid_t begin_fstat(int fd)
{
        struct stat st;
        pid_t pid = fork();

        if (pid == 0)
                _exit(fstat(fd, &st) < 0);
        return pid;
}

static pid_t expect_no_hang(int stop[2])
{
        char path[64], fd_path[64];
        pid_t child;
        int fd;

        snprintf(path, sizeof(path), "%s/device", mount_point);
        fd = open(path, O_RDWR | O_CLOEXEC);
        EXPECT(fd >= 0);
        snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d", fd);
        EXPECT_INT(write(stop[1], "!", 1), 1);
        child = begin_fstat(fd);
        EXPECT_INT(device_check_path(AT_FDCWD, fd_path, NODE, NULL), -ENODEV);
        EXPECT_INT(device_check(fd, NODE, NULL), -ENODEV);
        usleep(100 * USEC_PER_MSEC);
        EXPECT_INT(waitpid(child, NULL, WNOHANG), 0);
        return child;
}

static void fuse_server_that_hangs(void)
{
        int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC), stop[2];
        char options[64];
        pid_t server, child;

        snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
        EXPECT(mkdtemp(mount_point) && pipe2(stop, O_CLOEXEC) == 0);
        if (fuse < 0 || mount("test", mount_point, "fuse", MS_NODEV | MS_NOSUID, options) < 0) {
                printf("# no FUSE here: %s\n", strerror(errno));
                rmdir(mount_point);
                return;
        }
        alarm(60); /* Without us the server ends, and everything that waits for it. */
        server = serve(fuse, stop[0]);
        close(fuse);
        child = expect_no_hang(stop);
        EXPECT(kill(server, SIGKILL) == 0);
        EXPECT_INT(waitpid(server, NULL, 0), server);
        EXPECT_INT(waitpid(child, NULL, 0), child);
        EXPECT(umount2(mount_point, MNT_DETACH) == 0);
        rmdir(mount_point);
}

int main(void)
{
        TEST(kinds);
        TEST(paths);
        TEST(fuse_server_that_hangs);
        return 0;
}
