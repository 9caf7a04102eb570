/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every allocation fails once: the program ends with a message, and does nothing else. The linker redirects
 * the calls here (--wrap). */
#include "handoff/translate.h"
#include "handoff/optstr.h"
#include "test.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#define ALLOCATIONS_MAX 10000

static long countdown; /* to the allocation that fails; 0: none does */

static bool fails(void)
{
        return countdown > 0 && --countdown == 0;
}

#define WRAP(type, name, parameters, arguments)                                                              \
        type __real_##name parameters;                                                                       \
        type __wrap_##name parameters;                                                                       \
        type __wrap_##name parameters                                                                        \
        {                                                                                                    \
                return fails() ? NULL : __real_##name arguments;                                             \
        }

WRAP(void *, malloc, (size_t size), (size))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *old, size_t size), (old, size))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))
WRAP(FILE *, open_memstream, (char **text, size_t *size), (text, size))
WRAP(json_object *, json_object_new_object, (void), ())
WRAP(json_object *, json_object_new_int64, (int64_t value), (value))
WRAP(json_object *, json_object_new_boolean, (json_bool value), (value))
WRAP(json_object *, json_object_new_string_len, (const char *s, int n), (s, n))

int __real_vasprintf(char **text, const char *format, va_list ap);
int __wrap_vasprintf(char **text, const char *format, va_list ap);
int __wrap_vasprintf(char **text, const char *format, va_list ap)
{
        return fails() ? -1 : __real_vasprintf(text, format, ap);
}

/* Something of every file that makes a destination's command line. */
static void make_command_line(void)
{
        static const char line[] =
                "q\0-M\0q35,usb=off\0-cpu\0qemu64\0-device\0vhost-vsock-pci,id=v,guest-cid=3\0"
                "-chardev\0socket,id=c,path=/c,server=on,logfile=/l\0-qmp\0unix:/q,server=on\0"
                "-serial\0file:/a,b\0-vnc\0:1\0-D\0/log\0-netdev\0{\"type\":\"user\",\"id\":\"n\"}";
        const struct cmdline_plan plan = {
                .binary = "/b", .machine = "m", .main_path = "/m", .cpr_path = "/c"};
        struct cmdline source = {}, out = {};
        struct cmdline_facts facts = {};
        struct findings fs = {};

        cmdline_parse(line, sizeof(line), &source, NULL);
        cmdline_make(&source, &plan, &out, &facts, &fs);
        cmdline_done(&source);
        cmdline_done(&out);
        cmdline_facts_done(&facts);
        findings_done(&fs);
}

/* Returns how a child ended in which allocation @n fails, and what it said. */
static int child_without(long n, char said[static 256])
{
        int pipe_fds[2], status;
        ssize_t got;
        pid_t pid;

        EXPECT(pipe(pipe_fds) == 0);
        pid = fork();
        if (pid == 0) {
                dup2(pipe_fds[1], STDERR_FILENO);
                countdown = n;
                make_command_line();
                _exit(countdown > 0 ? 7 : 0);
        }
        close(pipe_fds[1]);
        got = read(pipe_fds[0], said, 255);
        said[got > 0 ? got : 0] = '\0';
        close(pipe_fds[0]);
        EXPECT_INT(waitpid(pid, &status, 0), pid);
        return status;
}

static void a_failing_allocation_ends_with_a_message(void)
{
        char said[256];
        long n = 0;

        for (;;) {
                int status = child_without(++n, said);

                if (WIFEXITED(status) && WEXITSTATUS(status) == 7)
                        break; /* there are no more */
                if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !strstr(said, "out of memory"))
                        FAIL("allocation %ld: status %x, it said \"%s\"", n, (unsigned)status, said);
                EXPECT(n < ALLOCATIONS_MAX);
        }
        EXPECT(n > 50);
}

int main(void)
{
        TEST(a_failing_allocation_ends_with_a_message);
        return 0;
}
