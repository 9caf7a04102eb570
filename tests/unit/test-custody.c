/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cprd keeps for a handoff: nothing twice, nothing left behind, and back only by its own name. */
#include "daemon/custody.h"
#include "test.h"

#include <fcntl.h>

static int some_fd(void)
{
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        EXPECT(fd >= 0);
        return fd;
}

static bool is_open(int fd)
{
        return fcntl(fd, F_GETFD) >= 0;
}

static void keep_and_drop(void)
{
        struct custody c = {.id = "abc123"};
        int device = some_fd(), other = some_fd(), process = some_fd();

        EXPECT_INT(custody_get(&c, CUSTODY_DEVICE), -EBADF);
        EXPECT_INT(custody_keep(&c, CUSTODY_DEVICE, 42, device, NULL), 0);
        EXPECT_INT(custody_keep(&c, CUSTODY_SOURCE, 0, process, NULL), 0);
        EXPECT_INT(custody_get(&c, CUSTODY_DEVICE), device);
        /* The same again: replaces it. */
        EXPECT_INT(custody_keep(&c, CUSTODY_DEVICE, 42, other, NULL), 0);
        EXPECT(!is_open(device));
        EXPECT_INT(custody_get(&c, CUSTODY_DEVICE), other);
        EXPECT_INT(c.n, 2);
        custody_drop(&c);
        EXPECT(!is_open(other) && !is_open(process));
        EXPECT_INT(c.n, 0);
}

static void bounded(void)
{
        struct custody c = {.id = "abc123"};
        struct failure f = {};
        int fd = -1;

        for (uint64_t i = 0; i < CUSTODY_MAX; i++)
                EXPECT_INT(custody_keep(&c, CUSTODY_DEVICE, i, some_fd(), NULL), 0);
        fd = some_fd();
        EXPECT_INT(custody_keep(&c, CUSTODY_DEVICE, 99, fd, &f), -ENOSPC);
        EXPECT(!is_open(fd) && f.what[0]);
        custody_drop(&c);
}

static void come_back(void)
{
        static const char *const others[] = {
                "device-abc124-42",
                "device-abc123",
                "device-abc123-",
                "device-abc123-x",
                "device-abc123-4x",
                "device-abc1234-4",
                "gadget-abc123-42",
                "device-abc123--1",
                "",
                "device",
                "source",
                "stored",
                "device-abc123-99999999999999999999999999",
        };
        struct custody c = {.id = "abc123"};
        int fd = some_fd();

        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                if (custody_take_back(&c, others[i], fd))
                        FAIL("%s was taken back", others[i]);
        EXPECT_INT(custody_take_back(&c, "device-abc123-42", fd), 1);
        EXPECT_INT(custody_get(&c, CUSTODY_DEVICE), fd);
        EXPECT_INT(c.kept[0].value, 42);
        EXPECT_INT(custody_take_back(&c, "device-abc123-42", fd), 0); /* once */
        EXPECT_INT(custody_take_back(&c, "destination-abc123-0", some_fd()), 1);
        custody_done(&c);
        EXPECT(!is_open(fd));
        fd = some_fd();
        custody_forget("device-gone-1", fd);
        EXPECT(!is_open(fd));
}

int main(void)
{
        TEST(keep_and_drop);
        TEST(bounded);
        TEST(come_back);
        return 0;
}
