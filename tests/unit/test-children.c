/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/children.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

static sd_event *event;
static struct children *children;
static atomic_int *running, *most; /* shared with the children */
static int n_done, n_failed;
static json_object *last;

static json_object *count_work(json_object *input)
{
        int now = atomic_fetch_add(running, 1) + 1;

        if (now > *most)
                *most = now;
        usleep(50 * USEC_PER_MSEC);
        atomic_fetch_sub(running, 1);
        return json_object_get(input);
}

static json_object *hang_work(json_object *input)
{
        while (pause() < 0)
                ;
        return NULL;
}

static json_object *crash_work(json_object *input)
{
        raise(SIGKILL);
        return NULL;
}

static json_object *long_work(json_object *input)
{
        size_t n = (size_t)json_int(input, "n", 0);
        json_object *o = json_object_new_object();
        char *text = calloc(1, n + 1);

        memset(text, 'x', n);
        json_add_str(o, "text", text);
        return o;
}

static json_object *fds_work(json_object *input)
{
        json_object *o = json_object_new_object();
        DIR *dir = opendir("/proc/self/fd");
        int n = 0;

        while (readdir(dir))
                n++;
        json_add_int(o, "n", n - 3); /* ".", ".." and the directory's */
        return o;
}

static void done(json_object *answer, const struct failure *f, void *userdata)
{
        n_done++;
        n_failed += answer == NULL;
        EXPECT(answer || f->what[0]);
        json_object_put(last);
        last = json_object_get(answer);
}

static void run_until(int wanted)
{
        uint64_t until = now_usec() + 20 * USEC_PER_SEC;

        while (n_done < wanted && now_usec() < until)
                EXPECT(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);
        EXPECT_INT(n_done, wanted);
}

static void reset(void)
{
        n_done = n_failed = 0;
        json_object_put(last);
        last = NULL;
}

static json_object *number(int n)
{
        json_object *o = json_object_new_object();

        json_add_int(o, "n", n);
        return o;
}

/* Many requests do not make many processes. */
static void bounded(void)
{
        reset();
        for (int i = 0; i < 24; i++)
                child_run(children, count_work, number(i), done, NULL);
        EXPECT_INT(n_done, 0);
        run_until(24);
        EXPECT_INT(n_failed, 0);
        EXPECT(*most > 1 && *most <= CHILDREN_MAX);
}

/* Children that hang keep their slots; those that nobody wants any more give them up. */
static void cancelled(void)
{
        struct child *hung[CHILDREN_MAX], *waiting;

        reset();
        for (int i = 0; i < CHILDREN_MAX; i++)
                hung[i] = child_run(children, hang_work, NULL, done, NULL);
        waiting = child_run(children, hang_work, NULL, done, NULL);
        child_run(children, count_work, number(7), done, NULL);
        for (int i = 0; i < 5; i++)
                EXPECT(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);
        EXPECT_INT(n_done, 0);
        child_cancel(waiting);
        for (int i = 0; i < CHILDREN_MAX; i++)
                child_cancel(hung[i]);
        run_until(1);
        EXPECT_INT(json_int(last, "n", 0), 7);
}

static void answers(void)
{
        reset();
        child_run(children, crash_work, NULL, done, NULL);
        run_until(1);
        EXPECT_INT(n_failed, 1);
        child_run(children, long_work, number(200000), done, NULL);
        run_until(2);
        EXPECT_INT(n_failed, 1);
        EXPECT_INT(strlen(json_str(last, "text")), 200000);
        child_run(children, long_work, number(CHILD_TEXT_MAX), done, NULL);
        run_until(3);
        EXPECT_INT(n_failed, 2);
}

/* A child that hangs must not keep a device open that cprd lets go of. */
static void no_fds(void)
{
        int device = open("/dev/null", O_RDWR);

        reset();
        child_run(children, fds_work, NULL, done, NULL);
        run_until(1);
        EXPECT_INT(json_int(last, "n", 0), 4);
        close(device);
}

int main(void)
{
        running = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        EXPECT(running != MAP_FAILED);
        most = running + 1;
        EXPECT(sd_event_new(&event) >= 0);
        children = children_new(event);
        TEST(bounded);
        TEST(cancelled);
        TEST(answers);
        TEST(no_fds);
        child_run(children, hang_work, NULL, done, NULL);
        EXPECT(sd_event_run(event, 20 * USEC_PER_MSEC) >= 0);
        children_free(children);
        json_object_put(last);
        sd_event_unref(event);
        return 0;
}
