/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/probe.h"

#include "common/device.h"
#include "common/kernel.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#define BINARIES_MAX 32

static json_object *probe_kernel(void)
{
        json_object *o = json_object_new_object();
        struct kernel k;
        char problem[sizeof(k.problem.what) + sizeof(k.problem.remedy) + 2];

        kernel_probe(DEVICE_VHOST_VSOCK, &k);
        json_add_str(o, "release", k.release);
        json_add_bool(o, "resetOwner", k.reset_owner);
        json_add_bool(o, "reclaim", k.reclaim);
        if (k.problem.error) {
                snprintf(problem, sizeof(problem), "%s%s%s", k.problem.what, k.problem.remedy[0] ? "; " : "",
                         k.problem.remedy);
                json_add_str(o, "problem", problem);
        }
        return o;
}

/* Runs cprd-inspect and reads the one object that it writes. */
static json_object *run_inspect(const char *binary)
{
        char text[16384];
        size_t got = 0;
        int fds[2];
        pid_t child;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return NULL;
        child = fork();
        if (child == 0) {
                dup2(fds[1], STDOUT_FILENO);
                execl(INSPECT_PATH, "cprd-inspect", binary, NULL);
                _exit(127);
        }
        close(fds[1]);
        while (child > 0 && got < sizeof(text) - 1) {
                ssize_t n = read(fds[0], text + got, sizeof(text) - 1 - got);

                if (n <= 0)
                        break;
                got += (size_t)n;
        }
        close(fds[0]);
        if (child > 0)
                waitpid(child, NULL, 0);
        text[got] = '\0';
        return json_tokener_parse(text);
}

static json_object *probe_binary(const char *binary)
{
        json_object *o = run_inspect(binary), *finding, *findings;

        if (o)
                return o;
        o = json_object_new_object();
        finding = json_object_new_object();
        findings = json_object_new_array();
        json_add_str(finding, "id", "inspect");
        json_add_str(finding, "severity", "blocker");
        json_add_str(finding, "what", "" INSPECT_PATH " failed on it");
        json_add_str(finding, "remedy", "make sure that cprd is installed completely");
        json_object_array_add(findings, finding);
        json_add_str(o, "binary", binary);
        json_add(o, "findings", findings);
        return o;
}

/* Those on the allow-list that exist and are for this machine. */
static json_object *default_binaries(json_object *patterns)
{
        json_object *list = json_object_new_array();
        struct utsname name;

        uname(&name);
        for (size_t i = 0; patterns && i < json_object_array_length(patterns); i++) {
                glob_t found = {};

                glob(json_object_get_string(json_object_array_get_idx(patterns, i)), GLOB_NOSORT, NULL,
                     &found);
                for (size_t j = 0; j < found.gl_pathc && json_object_array_length(list) < BINARIES_MAX; j++) {
                        const char *system = strstr(found.gl_pathv[j], "/qemu-system-");

                        if (!system || STREQ(system + strlen("/qemu-system-"), name.machine))
                                json_object_array_add(list, json_object_new_string(found.gl_pathv[j]));
                }
                globfree(&found);
        }
        return list;
}

json_object *probe_work(json_object *input)
{
        json_object *reply = json_object_new_object(), *list = json_object_new_array();
        json_object *binaries = json_arr(input, "binaries");
        _cleanup_json_ json_object *all =
                binaries ? json_object_get(binaries) : default_binaries(json_arr(input, "patterns"));

        json_add(reply, "kernel", probe_kernel());
        for (size_t i = 0; i < json_object_array_length(all) && i < BINARIES_MAX; i++)
                json_object_array_add(
                        list, probe_binary(json_object_get_string(json_object_array_get_idx(all, i))));
        json_add(reply, "binaries", list);
        return reply;
}
