/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/credentials.h"
#include "handoff/launch.h"
#include "handoff/listeners.h"
#include "test.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define NOBODY 65534

/* What a source's user can make of it, in a child that says when it is done. */
struct subject {
        struct process process;
        int go, done;
};

static struct subject subject_start(void (*change)(void))
{
        struct subject s = {.process = PROCESS_NULL};
        int go[2], done[2];
        pid_t pid;
        char c;

        EXPECT_INT(pipe2(go, O_CLOEXEC), 0);
        EXPECT_INT(pipe2(done, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                EXPECT_INT(read(go[0], &c, 1), 1);
                change();
                EXPECT_INT(write(done[1], "d", 1), 1);
                for (;;)
                        pause();
        }
        close(go[0]);
        close(done[1]);
        s.go = go[1];
        s.done = done[0];
        EXPECT_INT(process_open(&s.process, pid, 0, NULL), 0);
        return s;
}

static void subject_change(struct subject *s)
{
        char c;

        EXPECT_INT(write(s->go, "g", 1), 1);
        EXPECT_INT(read(s->done, &c, 1), 1);
}

static void subject_end(struct subject *s)
{
        kill(s->process.pid, SIGKILL);
        waitpid(s->process.pid, NULL, 0);
        process_close(&s->process);
        close(s->go);
        close(s->done);
}

static int prepare(struct subject *s, const char *credentials, struct failure *f)
{
        _cleanup_(launch_done) struct launched child = LAUNCHED_NULL;
        char *argv[] = {(char *)"true", NULL};
        struct launch l = {
                .twin = &s->process, .credentials = credentials, .binary = "/bin/true", .argv = argv};

        return launch_prepare(&l, &child, f);
}

/* As an exec of a set-user-ID program does it. */
static void become_another(void)
{
        EXPECT_INT(setresuid(NOBODY, NOBODY, NOBODY), 0);
}

static void its_rights_change_after_the_check(void)
{
        _cleanup_free_ char *credentials = NULL;
        struct subject s = subject_start(become_another);
        struct failure f = {};

        EXPECT_INT(credentials_read(&s.process, &credentials, &f), 0);
        subject_change(&s);
        EXPECT_INT(prepare(&s, credentials, &f), -EPERM);
        EXPECT_STR(f.what, "the source has other rights than when it was checked");
        subject_end(&s);
}

static void one_that_was_not_checked_is_refused(void)
{
        struct subject s = subject_start(become_another);
        struct failure f = {};

        EXPECT_INT(prepare(&s, NULL, &f), -EPERM);
        EXPECT_STR(f.what, "the source has other rights than when it was checked");
        subject_end(&s);
}

/* Its root would have all capabilities, in /proc/PID/status too. */
static void enter_user_namespace(void)
{
        EXPECT_INT(unshare(CLONE_NEWUSER | CLONE_NEWNS), 0);
}

static void it_enters_a_user_namespace_after_the_check(void)
{
        _cleanup_free_ char *credentials = NULL;
        struct subject s = subject_start(enter_user_namespace);
        struct failure f = {};

        EXPECT_INT(credentials_read(&s.process, &credentials, &f), 0);
        subject_change(&s);
        EXPECT_INT(prepare(&s, credentials, &f), -EPERM);
        EXPECT(f.what[0]);
        subject_end(&s);
}

static void gain_rights(void)
{
        EXPECT_INT(setresuid(NOBODY, 0, 0), 0);
}

static void one_with_the_rights_of_another_user(void)
{
        _cleanup_free_ char *credentials = NULL;
        struct subject s = subject_start(gain_rights);
        struct failure f = {};

        subject_change(&s);
        EXPECT_INT(credentials_read(&s.process, &credentials, &f), -EPERM);
        EXPECT(f.remedy[0]);
        subject_end(&s);
}

/* A child that is stopped, as by the freezer of the source's cgroup, cannot hear that it is to exit. */
static void a_child_that_is_stopped_is_not_waited_for(void)
{
        struct launched child = LAUNCHED_NULL;
        int go[2];
        pid_t pid;

        EXPECT_INT(pipe2(go, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0)
                for (;;)
                        pause();
        EXPECT_INT(process_open(&child.process, pid, 0, NULL), 0);
        kill(pid, SIGSTOP);
        child.go = go[1];
        alarm(30);
        launch_done(&child);
        alarm(0);
        close(go[0]);
}

static void bind_to(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        EXPECT_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
}

/* What the socket's owner gives away must be its own: not another's that a link of this name leads to. */
static void anothers_socket_is_not_given_away(void)
{
        char directory[] = "/tmp/test-launch-XXXXXX";
        struct stat nobodys = {.st_uid = NOBODY, .st_gid = NOBODY}, st;

        EXPECT(mkdtemp(directory));
        EXPECT_INT(chdir(directory), 0);
        bind_to("roots");
        EXPECT_INT(link("roots", "link"), 0);
        EXPECT_INT(listener_give_owner("link", 0, &nobodys), -EPERM);
        EXPECT_INT(unlink("link"), 0);
        EXPECT_INT(listener_give_owner("roots", NOBODY, &nobodys), -EPERM);
        EXPECT_INT(stat("roots", &st), 0);
        EXPECT_INT(st.st_uid, 0);
        EXPECT_INT(listener_give_owner("roots", 0, &nobodys), 0);
        EXPECT_INT(stat("roots", &st), 0);
        EXPECT_INT(st.st_uid, NOBODY);
        EXPECT_INT(unlink("roots"), 0);
        EXPECT_INT(rmdir(directory), 0);
}

int main(void)
{
        if (geteuid() != 0)
                return 77; /* to become another takes root */
        TEST(its_rights_change_after_the_check);
        TEST(one_that_was_not_checked_is_refused);
        TEST(it_enters_a_user_namespace_after_the_check);
        TEST(one_with_the_rights_of_another_user);
        TEST(a_child_that_is_stopped_is_not_waited_for);
        TEST(anothers_socket_is_not_given_away);
        return 0;
}
