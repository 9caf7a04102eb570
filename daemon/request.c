/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/request.h"

struct vm *request_vm(struct call *call)
{
        struct daemon *d = call->context;
        const char *name = json_str(call->parameters, "name");
        struct vm *vm = registry_find(&d->registry, name);

        if (!vm)
                call_error(call, "NoSuchVm", reply_object("name", name));
        return vm;
}

bool request_is_busy(struct call *call, const struct vm *vm)
{
        json_object *o;

        if (!vm->job[0])
                return false;
        o = reply_object("name", vm->name);
        json_add_str(o, "handoff", vm->job);
        call_error(call, "Busy", o);
        return true;
}

bool request_may_use(struct call *call, const char *binary)
{
        const struct daemon *d = call->context;
        struct failure f = {};

        if (config_allows(&d->config, binary))
                return true;
        failure_set(&f, EPERM, "%.300s is not among the binaries allowed as a destination", binary);
        failure_remedy(&f, "use one that is, or add it to \"binaries\" in " CONFIG_PATH);
        reply_failure(call, "NotUsable", &f);
        return false;
}

bool request_read(struct call *call, const struct vm *vm, struct queue_request *ret)
{
        const struct daemon *d = call->context;
        struct failure f = {};

        ret->caller = call->caller->text;
        ret->binary = json_str(call->parameters, "binary");
        ret->faults = json_arr(call->parameters, "faults");
        ret->max_pause = json_int(call->parameters, "maxPause", d->config.max_pause);
        ret->rehearse = json_flag(call->parameters, "rehearse");
        if (ret->max_pause <= 0) {
                reply_invalid(call, "maxPause");
                return false;
        }
        if (ret->faults && !FAULT_INJECTION) {
                failure_set(&f, EOPNOTSUPP, "this cprd cannot inject faults");
                failure_remedy(&f, "build it with -Dfault_injection=true, for tests only");
        } else if (vm_is_gone(vm)) {
                failure_set(&f, ESRCH, "the QEMU of %s (pid %d) has exited", vm->name, vm->pid);
                failure_remedy(&f, "register it again when it is running");
        }
        if (f.error) {
                reply_failure(call, "NotUsable", &f);
                return false;
        }
        return !ret->binary || request_may_use(call, ret->binary);
}
