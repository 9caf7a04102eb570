/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/finding.h"
#include "common/journal.h"
#include "common/log.h"
#include "test.h"

#include <fcntl.h>
#include <sys/mman.h>

#define LINES 300000

static int file_of(const char *text, size_t size)
{
        int fd = memfd_create("journal", MFD_CLOEXEC);

        EXPECT(fd >= 0);
        EXPECT_INT(write(fd, text, size), size);
        return fd;
}

static struct journal *open_text(const char *text, size_t size)
{
        struct journal *j;
        struct failure f = {};

        if (journal_open(file_of(text, size), false, &j, &f) < 0)
                FAIL("%s", f.what);
        return j;
}

static size_t count_lines(struct journal *j)
{
        json_object *line;
        size_t n = 0;
        int r;

        while ((r = journal_next(j, &line, NULL)) > 0) {
                json_object_put(line);
                n++;
        }
        EXPECT_INT(r, 0);
        return n;
}

/* A torn line is read again once it is whole, or has been replaced. */
static void torn_line(void)
{
        static const char first[] = "{\"a\":1}\n{\"b\":2}\n{\"tor", second[] = "{\"c\":3}\n";
        int fd = file_of(first, strlen(first)), copy = dup(fd);
        _cleanup_(journal_freep) struct journal *j = NULL;
        json_object *line;

        EXPECT_INT(journal_open(fd, false, &j, NULL), 0);
        EXPECT_INT(journal_next(j, &line, NULL), 1);
        json_object_put(line);
        /* The next writer cuts it off. */
        EXPECT(ftruncate(copy, 16) == 0);
        EXPECT_INT(pwrite(copy, second, strlen(second), 16), strlen(second));
        EXPECT_INT(journal_next(j, &line, NULL), 1);
        EXPECT_INT(json_int(line, "b", 0), 2);
        json_object_put(line);
        EXPECT(journal_has_more(j));
        EXPECT_INT(journal_next(j, &line, NULL), 1);
        EXPECT_INT(json_int(line, "c", 0), 3);
        json_object_put(line);
        EXPECT(!journal_has_more(j));
        EXPECT_INT(journal_next(j, &line, NULL), 0);
        close(copy);
}

/* The time it takes grows linearly with the journal. */
static void many_lines(void)
{
        char *text = malloc(3 * LINES);
        struct journal *j;
        uint64_t began;

        EXPECT(text);
        for (size_t i = 0; i < LINES; i++)
                memcpy(text + 3 * i, "{}\n", 3);
        began = now_usec();
        j = open_text(text, 3 * LINES);
        EXPECT_INT(count_lines(j), LINES);
        journal_free(j);
        memset(text, 'x', 3 * LINES);
        j = open_text(text, 3 * LINES);
        EXPECT_INT(count_lines(j), 0);
        journal_free(j);
        EXPECT(now_usec() - began < 10 * USEC_PER_SEC);
        free(text);
}

static void findings_are_bounded(void)
{
        struct findings fs = {};

        for (int i = 0; i < 10 * FINDINGS_MAX; i++)
                finding_block(&fs, "x", "y", "%d", i);
        EXPECT_INT(json_object_array_length(fs.list), FINDINGS_MAX + 1);
        EXPECT_INT(fs.n_blockers, 10 * FINDINGS_MAX);
        EXPECT_STR(json_str(json_object_array_get_idx(fs.list, FINDINGS_MAX), "id"), "findings");
        findings_done(&fs);
}

/* Input from outside cannot add a line to the log. */
static void log_is_one_line(void)
{
        int saved = dup(STDERR_FILENO), fd = memfd_create("log", MFD_CLOEXEC);
        char text[256] = "";

        unsetenv("JOURNAL_STREAM");
        EXPECT(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
        log_warning("no QMP socket at %s", "/a\n<2>forged: line\033[2J");
        EXPECT(dup2(saved, STDERR_FILENO) >= 0);
        EXPECT(pread(fd, text, sizeof(text) - 1, 0) > 0);
        EXPECT_STR(text, "<4>no QMP socket at /a <2>forged: line [2J\n");
        close(saved);
        close(fd);
}

int main(void)
{
        TEST(torn_line);
        TEST(many_lines);
        TEST(findings_are_bounded);
        TEST(log_is_one_line);
        return 0;
}
