/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cprd-inspect BINARY: what can be said about a QEMU binary without a VM, as one JSON object on stdout: an
 * element of `binaries` in the reply of Probe. It reads a foreign ELF file and runs it, so it is a separate
 * program, which cprd starts for each binary (probe.c).
 */
#include "common/allow.h"
#include "common/finding.h"
#include "common/vmstate.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define VERSION_SECONDS 5 /* for the binary to say its version */

/* Opens it, if a handoff to it would be allowed at all. */
static int check_file(const char *binary, struct findings *fs)
{
        _cleanup_close_ int fd = open(binary, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        const char *defect, *remedy;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                finding_block(fs, "binary", "install it, or name another one", "%s", strerror(errno));
                return -ENOENT;
        }
        defect = allow_file_defect(&st, &remedy);
        if (defect) {
                finding_block(fs, "binary", remedy, "it %s", defect);
                return -EPERM;
        }
        finding_pass(fs, "binary", "it can be executed, and only root can change it");
        return TAKE_FD(fd);
}

static void check_slot(int fd, struct findings *fs)
{
        struct vmstate_slot slot;
        struct failure f = {};

        if (vmstate_find_slot(fd, &slot, &f) >= 0) {
                finding_pass(fs, "shield",
                             "the connections can be shielded from its TRANSPORT_RESET: one slot");
                return;
        }
        failure_remedy(&f, "use a distribution's QEMU that has vhost-vsock built in");
        finding_block_failure(fs, "shield", &f);
}

/* Runs BINARY -version and reads at most one line of its output. */
static int run_version(const char *binary, char *line, size_t size)
{
        size_t got = 0;
        int fds[2], status = 0;
        pid_t child;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        child = fork();
        if (child == 0) {
                dup2(fds[1], STDOUT_FILENO);
                alarm(VERSION_SECONDS);
                execl(binary, binary, "-version", NULL);
                _exit(127);
        }
        close(fds[1]);
        while (child > 0 && got < size - 1) {
                ssize_t n = read(fds[0], line + got, size - 1 - got);

                if (n <= 0)
                        break;
                got += (size_t)n;
        }
        close(fds[0]);
        if (child < 0 || waitpid(child, &status, 0) < 0)
                return -EAGAIN;
        line[got] = '\0';
        line[strcspn(line, "\n")] = '\0';
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOEXEC;
}

/* "QEMU emulator version 10.0.2 (Debian …)": the version ends at a space, a parenthesis or the end of the
 * line. */
static void check_version(const char *binary, json_object *o, struct findings *fs)
{
        static const char words[] = "QEMU emulator version ";
        char line[256] = "", version[64];

        if (run_version(binary, line, sizeof(line)) < 0 || strncmp(line, words, strlen(words)) != 0) {
                finding_block(fs, "version", "make sure that it runs on this host: try it with -version",
                              "it does not run, or is not a QEMU");
                return;
        }
        snprintf(version, sizeof(version), "%.*s", (int)strcspn(line + strlen(words), " ("),
                 line + strlen(words));
        json_add_str(o, "version", version);
        if (atoi(version) < 10)
                finding_block(fs, "version", "use QEMU 10.0 or newer", "%s has no cpr-transfer", line);
        else
                finding_pass(fs, "version", "%s", line);
}

int main(int argc, char *argv[])
{
        _cleanup_json_ json_object *o = json_object_new_object();
        _cleanup_close_ int fd = -EBADF;
        struct findings fs = {};

        if (argc != 2 || argv[1][0] != '/') {
                fprintf(stderr, "usage: cprd-inspect BINARY\nBINARY is an absolute path. See cprd-inspect(8).\n");
                return 64;
        }
        json_add_str(o, "binary", argv[1]);
        fd = check_file(argv[1], &fs);
        if (fd >= 0) {
                check_slot(fd, &fs);
                check_version(argv[1], o, &fs);
        }
        json_add(o, "findings", json_object_get(fs.list));
        printf("%s\n",
               json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        findings_done(&fs);
        return 0;
}
