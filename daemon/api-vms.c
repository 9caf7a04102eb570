/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/api-vms.h"

#include "common/file.h"
#include "daemon/candidate.h"
#include "daemon/daemon.h"
#include "daemon/probe.h"
#include "daemon/reply.h"
#include "daemon/request.h"

#include <fcntl.h>
#include <limits.h>

/* The path comes from a VM's command line, and looking at an arbitrary file could block us. Those a handoff
 * may use are in places where only root can mount something. */
static json_object *describe(struct daemon *d, const struct vm *vm)
{
        json_object *o = vm_describe(vm);
        char now[FILE_IDENTITY_MAX];

        if (vm->file && !vm_is_gone(vm) && config_allows(&d->config, vm->binary) &&
            file_identity(AT_FDCWD, vm->binary, now) >= 0)
                json_add(o, "outdated", json_object_new_boolean(!STREQ(now, vm->file)));
        return o;
}

void api_list(struct call *call)
{
        struct daemon *d = call->context;
        json_object *o = json_object_new_object(), *list = json_object_new_array();

        for (struct vm *vm = d->registry.vms; vm; vm = vm->next)
                json_object_array_add(list, describe(d, vm));
        json_add(o, "vms", list);
        call_reply(call, o);
}

void api_describe(struct call *call)
{
        struct daemon *d = call->context;
        struct vm *vm = request_vm(call);
        json_object *o;

        if (!vm)
                return;
        vm_look(vm);
        o = json_object_new_object();
        json_add(o, "vm", describe(d, vm));
        call_reply(call, o);
}

void api_unregister(struct call *call)
{
        struct daemon *d = call->context;
        struct vm *vm = request_vm(call);

        if (!vm || request_is_busy(call, vm))
                return;
        registry_remove(&d->registry, vm);
        call_reply(call, NULL);
}

/* ---- done by a child ---- */

static void child_gone(struct call *call)
{
        if (call->data)
                child_cancel(call->data);
}

static void run_child(struct call *call, child_work_t work, json_object *input, child_done_t done)
{
        struct daemon *d = call->context;

        call->data = child_run(d->children, work, input, done, call);
        call->gone = child_gone;
}

static int add_candidate(struct call *call, json_object *answer, struct failure *f)
{
        struct daemon *d = call->context;
        _cleanup_(process_close) struct process p = PROCESS_NULL;
        const char *what = json_str(answer, "what");
        int r;

        if (what) {
                failure_set(f, EINVAL, "%s", what);
                return failure_remedy(f, "%s", json_str(answer, "remedy") ?: "");
        }
        r = process_open(&p, (pid_t)json_int(call->parameters, "pid", 0),
                         (uint64_t)json_int(answer, "startTime", -1), f);
        if (r < 0)
                return r;
        return registry_add(&d->registry, json_str(call->parameters, "name"), &p,
                            json_str(call->parameters, "qmp"), json_str(answer, "binary") ?: "", f);
}

static void register_done(json_object *answer, const struct failure *problem, void *userdata)
{
        struct call *call = userdata;
        struct failure f = *problem;
        int r = answer ? add_candidate(call, answer, &f) : -f.error;

        call->data = NULL;
        if (r == REGISTRY_NAME_TAKEN)
                call_error(call, "VmExists", reply_object("name", json_str(call->parameters, "name")));
        else if (r < 0)
                reply_failure(call, answer ? "NotUsable" : "Failed", &f);
        else
                call_reply(call, NULL);
}

void api_register(struct call *call)
{
        int64_t pid = json_int(call->parameters, "pid", 0);

        if (!name_is_valid(json_str(call->parameters, "name")))
                reply_invalid(call, "name");
        else if (pid <= 0 || pid > INT_MAX)
                reply_invalid(call, "pid");
        else
                run_child(call, candidate_work, json_object_get(call->parameters), register_done);
}

static void probe_done(json_object *answer, const struct failure *problem, void *userdata)
{
        struct call *call = userdata;

        call->data = NULL;
        if (answer)
                call_reply(call, json_object_get(answer));
        else
                reply_failure(call, "Failed", problem);
}

void api_probe(struct call *call)
{
        struct daemon *d = call->context;
        json_object *binaries = json_arr(call->parameters, "binaries"), *input;

        for (size_t i = 0; binaries && i < json_object_array_length(binaries); i++)
                if (!request_may_use(call, json_object_get_string(json_object_array_get_idx(binaries, i))))
                        return;
        input = json_object_new_object();
        json_add(input, "patterns", json_object_get(d->config.binaries));
        if (binaries)
                json_add(input, "binaries", json_object_get(binaries));
        run_child(call, probe_work, input, probe_done);
}
