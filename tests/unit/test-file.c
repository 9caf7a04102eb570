/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/file.h"
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static char directory[] = "/tmp/cprd-test-file-XXXXXX";
static int root = -EBADF;

static bool exists(const char *name)
{
        struct stat st;

        return fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void touch(const char *name)
{
        int fd = openat(root, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

        EXPECT(fd >= 0);
        close(fd);
}

static void read_and_write(void)
{
        _cleanup_free_ char *path = file_path(directory, "%s", "one"), *text = NULL;
        size_t size;

        EXPECT_INT(file_write(path, "first", 0600), 0);
        EXPECT_INT(file_write(path, "second", 0600), 0);
        EXPECT(!exists("one.new"));
        EXPECT_INT(file_read(root, "one", 6, &text, &size), 0);
        EXPECT_STR(text, "second");
        EXPECT_INT(size, 6);
        EXPECT_INT(file_read(root, "one", 5, &text, NULL), -EFBIG);
        EXPECT_INT(file_read(root, "two", 5, &text, NULL), -ENOENT);
        EXPECT_INT(file_remove_tree(root, "one"), 0);
        EXPECT_INT(file_remove_tree(root, "one"), -ENOENT);
}

/* A tree goes with everything in it, but not what its links lead to. */
static void remove_tree(void)
{
        EXPECT(mkdirat(root, "victim", 0700) == 0 && mkdirat(root, "tree", 0700) == 0);
        EXPECT(mkdirat(root, "tree/a", 0700) == 0 && mkdirat(root, "tree/a/b", 0700) == 0);
        touch("victim/precious");
        touch("tree/a/b/file");
        EXPECT(symlinkat("../victim", root, "tree/link") == 0);
        EXPECT(symlinkat("../../victim/precious", root, "tree/a/link") == 0);
        EXPECT_INT(file_remove_tree(root, "tree"), 0);
        EXPECT(!exists("tree"));
        EXPECT(exists("victim/precious"));
        EXPECT(symlinkat("victim", root, "tree") == 0);
        EXPECT_INT(file_remove_tree(root, "tree"), 0);
        EXPECT(exists("victim/precious"));
        EXPECT_INT(file_remove_tree(root, "victim"), 0);
}

static void bounded(void)
{
        int at = dup(root);

        EXPECT(mkdirat(root, "deep", 0700) == 0);
        for (int i = 0, next; i < FILE_TREE_DEPTH + 4; i++, at = next) {
                EXPECT(mkdirat(at, "deep", 0700) == 0 || errno == EEXIST);
                next = openat(at, "deep", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
                EXPECT(next >= 0);
                close(at);
        }
        close(at);
        EXPECT_INT(file_remove_tree(root, "deep"), -E2BIG);
        EXPECT_INT(renameat(root, "deep/deep/deep/deep/deep/deep", root, "rest"), 0);
        EXPECT_INT(file_remove_tree(root, "deep"), 0);
        EXPECT_INT(file_remove_tree(root, "rest"), 0);
}

static atomic_bool over;

/* Somebody who keeps replacing a directory by a link to somebody else's files. */
static void *swap(void *unused)
{
        while (!over) {
                mkdirat(root, "tree/channel", 0700);
                mkdirat(root, "tree/channel/b", 0700);
                renameat(root, "tree/channel", root, "aside");
                (void)!symlinkat("../victim", root, "tree/channel");
                unlinkat(root, "tree/channel", 0);
                unlinkat(root, "aside/b", AT_REMOVEDIR);
                unlinkat(root, "aside", AT_REMOVEDIR);
        }
        return NULL;
}

static void raced(void)
{
        pthread_t thread;

        EXPECT(mkdirat(root, "victim", 0700) == 0);
        touch("victim/precious");
        EXPECT_INT(pthread_create(&thread, NULL, swap, NULL), 0);
        for (int i = 0; i < 500; i++) {
                EXPECT(mkdirat(root, "tree", 0700) == 0 || errno == EEXIST);
                file_remove_tree(root, "tree");
                if (!exists("victim/precious"))
                        FAIL("the link was followed in round %d", i);
        }
        over = true;
        pthread_join(thread, NULL);
        file_remove_tree(root, "tree");
        file_remove_tree(root, "aside");
        EXPECT_INT(file_remove_tree(root, "victim"), 0);
}

int main(void)
{
        EXPECT(mkdtemp(directory));
        root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        TEST(read_and_write);
        TEST(remove_tree);
        TEST(bounded);
        TEST(raced);
        close(root);
        EXPECT(rmdir(directory) == 0);
        return 0;
}
