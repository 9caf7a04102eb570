/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/candidate.h"

#include "common/process.h"

#include <sys/stat.h>
#include <sys/un.h>

#define START_IT "start QEMU with -qmp unix:PATH,server=on,wait=off"

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static bool looks_like_qemu(const char *name)
{
        name = base_name(name);
        return strncmp(name, "qemu-system-", 12) == 0 || strncmp(name, "qemu-kvm", 8) == 0 ||
               STREQ(name, "kvm");
}

/* Cheap and needs no privilege: looks at the command line and the process's name. What the executable really
 * is, is checked by cprd-handoff, which may look. */
static int find_binary(struct process *p, char **ret, struct failure *f)
{
        _cleanup_free_ char *cmdline = NULL, *comm = NULL;
        int r = process_read(p, "cmdline", 4U << 20, &cmdline, NULL);

        if (r >= 0)
                r = process_read(p, "comm", 64, &comm, NULL);
        if (r < 0)
                return failure_set(f, r, "cannot look at process %d: %s", p->pid, strerror(-r));
        comm[strcspn(comm, "\n")] = '\0';
        if (!looks_like_qemu(cmdline) && !looks_like_qemu(comm)) {
                failure_set(f, EINVAL, "process %d is not a QEMU (it is \"%s\", started as \"%.200s\")",
                            p->pid, comm, cmdline);
                return failure_remedy(f, "give the pid of a qemu-system process");
        }
        *ret = text_copy(cmdline);
        return 0;
}

static int check_qmp_path(const char *qmp, struct failure *f)
{
        struct stat st;

        if (qmp[0] != '/' || strlen(qmp) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
                failure_set(f, EINVAL, "\"%.200s\" is not an absolute path of a unix socket", qmp);
                return failure_remedy(f, "give the path of QEMU's -qmp unix:PATH,server=on,wait=off");
        }
        if (stat(qmp, &st) < 0) {
                if (errno == EACCES) /* only QEMU's user may enter the directory; cprd-handoff may look */
                        return 0;
                failure_set(f, errno, "no QMP socket at %s: %s", qmp, strerror(errno));
                return failure_remedy(f, START_IT);
        }
        if (!S_ISSOCK(st.st_mode)) {
                failure_set(f, ENOTSOCK, "%s is not a socket", qmp);
                return failure_remedy(f, "give the path of QEMU's -qmp unix:PATH,server=on,wait=off");
        }
        return 0;
}

json_object *candidate_work(json_object *input)
{
        json_object *o = json_object_new_object();
        _cleanup_(process_close) struct process p = PROCESS_NULL;
        _cleanup_free_ char *binary = NULL;
        struct failure f = {};
        int r = check_qmp_path(json_str(input, "qmp"), &f);

        if (r >= 0)
                r = process_open(&p, (pid_t)json_int(input, "pid", 0), 0, &f);
        if (r >= 0)
                r = find_binary(&p, &binary, &f);
        if (r < 0) {
                json_add_str(o, "what", f.what);
                json_add_str(o, "remedy", f.remedy[0] ? f.remedy : NULL);
                return o;
        }
        json_add_int(o, "startTime", (int64_t)p.start_time);
        json_add_str(o, "binary", binary);
        return o;
}
