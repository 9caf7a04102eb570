/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-qdict.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* A child has what this process has. What reads has copies of it. */
static pid_t start_child(struct process *ret)
{
        pid_t child = fork();

        EXPECT(child >= 0);
        if (child == 0)
                for (;;)
                        pause();
        EXPECT(process_open(ret, child, 0, NULL) >= 0);
        return child;
}

static void end_child(pid_t child, struct process *p)
{
        process_close(p);
        kill(child, SIGKILL);
        EXPECT_INT(waitpid(child, NULL, 0), child);
}

static json_object *read_child(void)
{
        struct process p = PROCESS_NULL;
        json_object *found = NULL;
        pid_t child = start_child(&p);

        EXPECT_INT(qdict_read(&p, &found), 0);
        end_child(child, &p);
        return found;
}

/* How many were found with a member "node-name" of that value; *ret_one is one of them. */
static size_t count(json_object *found, const char *name, json_object **ret_one)
{
        size_t n = 0;

        for (size_t i = 0; i < json_object_array_length(found); i++) {
                json_object *o = json_object_array_get_idx(found, i);

                if (!STREQ(json_str(o, "node-name") ?: "", name))
                        continue;
                n++;
                *ret_one = o;
        }
        return n;
}

/* As seen in the memory of QEMUs 10.0.2, 10.0.13 and 11.1.3. */
static void buckets(void)
{
        EXPECT_INT(qdict_bucket("driver"), 239);
        EXPECT_INT(qdict_bucket("node-name"), 212);
        EXPECT_INT(qdict_bucket(""), 57);
}

static void members_of_each_kind(void)
{
        struct qdict *q = fake_qdict("driver", "file", "node-name", "one", "aio", "io_uring", NULL);
        struct qdict_value *number = fake_value(QDICT_NUMBER), *yes = fake_value(QDICT_BOOL);
        _cleanup_json_ json_object *found = NULL;
        json_object *o = NULL, *nothing = found;

        number->number = 65536;
        yes->boolean = true;
        fake_put(q, "cache-size", number);
        fake_put(q, "auto-read-only", yes);
        fake_put(q, "backing", fake_value(1));
        found = read_child();
        EXPECT_INT(count(found, "one", &o), 1);
        EXPECT_INT(json_object_object_length(o), 6);
        EXPECT_STR(json_str(o, "aio"), "io_uring");
        EXPECT_INT(json_int(o, "cache-size", 0), 65536);
        EXPECT(json_flag(o, "auto-read-only"));
        EXPECT(json_object_object_get_ex(o, "backing", &nothing) && !nothing);
        fake_free(q);
}

/* Each has one thing wrong. */
static void what_is_none_is_not_found(void)
{
        struct qdict *fakes[] = {
                fake_qdict("driver", "file", "node-name", "wrong", NULL),
                fake_qdict("driver", "file", "node-name", "wrong", NULL),
                fake_qdict("driver", "file", "node-name", "wrong", NULL),
                fake_qdict("driver", "file", "node-name", "wrong", NULL),
                fake_qdict("node-name", "wrong", NULL),
        };
        uint64_t *bucket = &fakes[2]->table[qdict_bucket("driver")];
        uint64_t saved = fakes[3]->table[qdict_bucket("driver")];
        _cleanup_json_ json_object *found = NULL;
        json_object *o;

        fakes[0]->size = 3;
        fakes[1]->base.references = 0;
        fakes[2]->table[(qdict_bucket("driver") + 1) % QDICT_BUCKETS] = *bucket;
        *bucket = 0;
        fakes[3]->table[qdict_bucket("driver")] = 0x10; /* nothing is there */
        found = read_child();
        EXPECT_INT(count(found, "wrong", &o), 0);
        fakes[3]->table[qdict_bucket("driver")] = saved;
        for (size_t i = 0; i < ELEMENTSOF(fakes); i++)
                fake_free(fakes[i]);
}

/* A bucket with a circle, which a QEMU that is just changing it cannot have either. */
static void a_circle_ends(void)
{
        struct qdict *q = fake_qdict("driver", "file", "node-name", "circle", NULL);
        struct qdict_entry *e = (void *)(uintptr_t)q->table[qdict_bucket("driver")];
        _cleanup_json_ json_object *found = NULL;
        json_object *o;

        e->next = (uint64_t)(uintptr_t)e;
        found = read_child();
        EXPECT_INT(count(found, "circle", &o), 0);
        e->next = 0;
        fake_free(q);
}

/* Pages of [at, at + size) that a process has. */
static size_t pages_of(const struct process *p, const char *at, size_t size)
{
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);
        _cleanup_close_ int fd = openat(p->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
        size_t n = 0;

        for (size_t i = 0; i < size / page; i++) {
                uint64_t entry;

                EXPECT_INT(
                        pread(fd, &entry, sizeof(entry), (off_t)(((uintptr_t)at / page + i) * sizeof(entry))),
                        sizeof(entry));
                n += entry >> 62 != 0;
        }
        return n;
}

/* To read a page that nobody has touched would make one. */
static void nothing_is_touched(void)
{
        const size_t size = 4 << 20;
        char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct process p = PROCESS_NULL;
        json_object *found = NULL;
        pid_t child;

        EXPECT(at != MAP_FAILED && madvise(at, size, MADV_NOHUGEPAGE) == 0);
        at[size / 2] = 4;
        child = start_child(&p);
        EXPECT_INT(pages_of(&p, at, size), 1);
        EXPECT_INT(qdict_read(&p, &found), 0);
        EXPECT_INT(pages_of(&p, at, size), 1);
        json_object_put(found);
        end_child(child, &p);
        munmap(at, size);
}

int main(void)
{
        TEST(buckets);
        TEST(members_of_each_kind);
        TEST(what_is_none_is_not_found);
        TEST(a_circle_ends);
        TEST(nothing_is_touched);
        return 0;
}
