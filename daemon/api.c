/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/api.h"

#include "common/log.h"
#include "daemon/history.h"
#include "daemon/probe.h"
#include "daemon/vm.h"
#include "io-cprd-varlink.h"

#include <limits.h>

#define PARAMETERS_MAX 8

static const char service_interface[] =
        "# What every Varlink service offers\n"
        "interface org.varlink.service\n"
        "\n"
        "method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)\n"
        "method GetInterfaceDescription(interface: string) -> (description: string)\n"
        "\n"
        "error InterfaceNotFound (interface: string)\n"
        "error MethodNotFound (method: string)\n"
        "error MethodNotImplemented (method: string)\n"
        "error InvalidParameter (parameter: string)\n"
        "error PermissionDenied ()\n"
        "error ExpectedMore ()\n";

static const struct {
        const char *name, *description;
} interfaces[] = {
        {"io.cprd", io_cprd_varlink},
        {"org.varlink.service", service_interface},
};

static json_object *one(const char *key, const char *value)
{
        json_object *o = json_object_new_object();

        json_add_str(o, key, value);
        return o;
}

static void reply_failure(struct call *call, const char *error, const struct failure *f)
{
        json_object *o = one("what", f->what[0] ? f->what : strerror(f->error));

        json_add_str(o, "remedy", f->remedy[0] ? f->remedy : NULL);
        call_error(call, error, o);
}

static void reply_invalid(struct call *call, const char *parameter)
{
        call_error(call, "org.varlink.service.InvalidParameter", one("parameter", parameter));
}

/* The VM that the parameter `name` names, or NULL, and the call has had its reply. */
static struct vm *vm_of(struct call *call)
{
        const char *name = json_str(call->parameters, "name");
        struct vm *vm = vm_find(call->daemon, name);

        if (!vm)
                call_error(call, "NoSuchVm", one("name", name));
        return vm;
}

static bool is_busy(struct call *call, const struct vm *vm)
{
        json_object *o;

        if (!vm->handoff)
                return false;
        o = one("name", vm->name);
        json_add_str(o, "handoff", vm->handoff->id);
        call_error(call, "Busy", o);
        return true;
}

static void method_get_info(struct call *call)
{
        json_object *o = json_object_new_object(), *names = json_object_new_array();

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++)
                json_object_array_add(names, json_object_new_string(interfaces[i].name));
        json_add_str(o, "vendor", "cprd");
        json_add_str(o, "product", "cprd");
        json_add_str(o, "version", CPRD_VERSION);
        json_add_str(o, "url", "");
        json_add(o, "interfaces", names);
        call_reply(call, o);
}

static void method_get_interface_description(struct call *call)
{
        const char *name = json_str(call->parameters, "interface");

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++)
                if (STREQ(interfaces[i].name, name)) {
                        call_reply(call, one("description", interfaces[i].description));
                        return;
                }
        call_error(call, "org.varlink.service.InterfaceNotFound", one("interface", name));
}

static void method_list(struct call *call)
{
        json_object *o = json_object_new_object(), *list = json_object_new_array();

        for (struct vm *vm = call->daemon->vms; vm; vm = vm->next)
                json_object_array_add(list, vm_describe(vm));
        json_add(o, "vms", list);
        call_reply(call, o);
}

static void method_describe(struct call *call)
{
        struct vm *vm = vm_of(call);
        json_object *o;

        if (!vm)
                return;
        vm_look(vm);
        o = json_object_new_object();
        json_add(o, "vm", vm_describe(vm));
        call_reply(call, o);
}

static void method_register(struct call *call)
{
        const char *name = json_str(call->parameters, "name");
        int64_t pid = json_int(call->parameters, "pid", 0);
        struct failure f = {};
        int r;

        if (!name_is_valid(name)) {
                reply_invalid(call, "name");
                return;
        }
        if (pid <= 0 || pid > INT_MAX) {
                reply_invalid(call, "pid");
                return;
        }
        r = vm_register(call->daemon, name, (pid_t)pid, json_str(call->parameters, "qmp"), &f);
        if (r >= 0)
                call_reply(call, NULL);
        else if (r == -EEXIST && !f.error)
                call_error(call, "VmExists", one("name", name));
        else if (f.error)
                reply_failure(call, "NotUsable", &f);
        else
                reply_failure(call, "Failed", &(struct failure){.error = -r});
}

static void method_unregister(struct call *call)
{
        struct vm *vm = vm_of(call);

        if (!vm || is_busy(call, vm))
                return;
        vm_unregister(vm);
        call_reply(call, NULL);
}

static struct call *call_of(struct observer *o)
{
        return (struct call *)((char *)o - offsetof(struct call, observer));
}

static bool is_blocker(json_object *finding)
{
        const char *severity = json_str(finding, "severity");

        return severity && STREQ(severity, "blocker");
}

static bool has_blocker(json_object *findings)
{
        for (size_t i = 0; findings && i < json_object_array_length(findings); i++)
                if (is_blocker(json_object_array_get_idx(findings, i)))
                        return true;
        return false;
}

static void copy_member(json_object *to, json_object *from, const char *key)
{
        json_object *v = NULL;

        if (json_object_object_get_ex(from, key, &v) && v)
                json_add(to, key, json_object_get(v));
}

/* What broke a check off is a blocker too, even if no single check could say so: the stage is its id. */
static json_object *findings_of(json_object *record, bool refused)
{
        json_object *findings = json_arr(record, "findings"), *o;

        findings = findings ? json_object_get(findings) : json_object_new_array();
        if (!refused || has_blocker(findings))
                return findings;
        o = one("id", json_str(record, "stage") ?: "check");
        json_add_str(o, "severity", "blocker");
        json_add_str(o, "what", json_str(record, "reason") ?: "the check broke off");
        json_add_str(o, "remedy", json_str(record, "remedy"));
        json_object_array_add(findings, o);
        return findings;
}

static void check_ended(struct observer *o, json_object *record)
{
        struct call *call = call_of(o);
        const char *reason = json_str(record, "reason");
        bool refused = STREQ(json_str(record, "outcome") ?: "", "refused");
        json_object *reply, *findings;

        if (!refused && reason) {
                struct failure f = {.error = EIO};

                snprintf(f.what, sizeof(f.what), "%s", reason);
                snprintf(f.remedy, sizeof(f.remedy), "%s", json_str(record, "remedy") ?: "");
                reply_failure(call, "Failed", &f);
                return;
        }
        reply = json_object_new_object();
        findings = findings_of(record, refused);
        json_add_bool(reply, "passed", !has_blocker(findings));
        copy_member(reply, record, "source");
        copy_member(reply, record, "destination");
        json_add(reply, "findings", findings);
        call_reply(call, reply);
}

/* Findings go with the first reply after they are known. */
static void handoff_progress(struct observer *o, json_object *progress)
{
        struct call *call = call_of(o);
        json_object *reply = one("id", o->handoff->id);

        json_add(reply, "progress", json_object_get(progress));
        json_add(reply, "about", handoff_about(o->handoff));
        if (!call->has_findings && json_object_array_length(o->handoff->findings) > 0) {
                json_add(reply, "findings", json_object_get(o->handoff->findings));
                call->has_findings = true;
        }
        call_continue(call, reply);
}

static void handoff_ended(struct observer *o, json_object *record)
{
        json_object *reply = one("id", json_str(record, "id"));

        json_add(reply, "record", json_object_get(record));
        call_reply(call_of(o), reply);
}

/* Reads what is asked for. Returns false, and the call has had its reply, when it cannot be done. */
static bool request_read(struct call *call, struct vm *vm, struct handoff_request *request)
{
        static const char *const strategies[] = {"remote", "cooperative", "native"};
        struct failure f = {};
        bool known = false;

        request->caller = call->caller->text;
        request->binary = json_str(call->parameters, "binary");
        request->strategy = json_str(call->parameters, "strategy");
        request->faults = json_arr(call->parameters, "faults");
        request->max_pause = json_int(call->parameters, "maxPause", call->daemon->config.max_pause);
        for (size_t i = 0; request->strategy && i < ELEMENTSOF(strategies); i++)
                known |= STREQ(request->strategy, strategies[i]);
        if (request->max_pause <= 0 || (request->strategy && !known)) {
                reply_invalid(call, request->max_pause <= 0 ? "maxPause" : "strategy");
                return false;
        }
        if (request->faults && !FAULT_INJECTION) {
                failure_set(&f, EOPNOTSUPP, "this cprd cannot inject faults");
                failure_remedy(&f, "build it with -Dfault_injection=true, for tests only");
        } else if (vm->process.pidfd < 0) {
                failure_set(&f, ESRCH, "the QEMU of %s (pid %d) has exited", vm->name, vm->pid);
                failure_remedy(&f, "register it again when it runs");
        } else if (request->binary && !config_allows(&call->daemon->config, request->binary)) {
                failure_set(&f, EPERM, "%.300s is not among the binaries allowed as a destination",
                            request->binary);
                failure_remedy(&f, "use one of those, or add it to \"binaries\" in " CONFIG_PATH);
        }
        if (f.error)
                reply_failure(call, "NotUsable", &f);
        return !f.error;
}

static void begin_handoff(struct call *call, struct handoff_request *request,
                          void (*progress)(struct observer *, json_object *),
                          void (*ended)(struct observer *, json_object *))
{
        struct vm *vm = vm_of(call);
        struct failure f = {};
        struct handoff *h;
        int r;

        if (!vm || is_busy(call, vm) || !request_read(call, vm, request))
                return;
        r = handoff_new(vm, request, &h, &f);
        if (r < 0) {
                f.error = -r;
                log_failure(LOG_ERR, &f, "%s: cannot begin a handoff", vm->name);
                reply_failure(call, "Failed", &f);
                return;
        }
        call->observer.progress = progress;
        call->observer.ended = ended;
        handoff_observe(h, &call->observer);
        if (progress)
                call_continue(call, one("id", h->id));
}

static void method_check(struct call *call)
{
        struct handoff_request request = {.check = true};

        begin_handoff(call, &request, NULL, check_ended);
}

static void method_handoff(struct call *call)
{
        struct handoff_request request = {};

        begin_handoff(call, &request, handoff_progress, handoff_ended);
}

static void method_cancel(struct call *call)
{
        struct vm *vm = vm_of(call);

        if (!vm)
                return;
        if (!vm->handoff || handoff_cancel(vm->handoff) < 0)
                call_error(call, "NotCancellable", one("name", vm->name));
        else
                call_reply(call, NULL);
}

static void reply_records(struct call *call, json_object *records)
{
        json_object *o = json_object_new_object();

        json_add(o, "records", records);
        call_reply(call, o);
}

static void history_ended(struct observer *o, json_object *record)
{
        json_object *records = json_object_new_array();

        json_object_array_add(records, json_object_get(record));
        reply_records(call_of(o), records);
}

static void method_history(struct call *call)
{
        const char *name = json_str(call->parameters, "name"), *id = json_str(call->parameters, "id");
        struct handoff *h = id ? handoff_find(call->daemon, id) : NULL;
        json_object *records;

        if (h && !h->check && (!name || STREQ(name, h->name))) {
                call->observer.ended = history_ended;
                handoff_observe(h, &call->observer);
                return;
        }
        records = history_list(call->daemon, name, id);
        if (id && json_object_array_length(records) == 0) {
                json_object_put(records);
                call_error(call, "NoSuchRecord", one("id", id));
                return;
        }
        reply_records(call, records);
}

static void probe_done(json_object *reply, const struct failure *f, void *userdata)
{
        struct call *call = userdata;

        call->gone = NULL;
        if (reply)
                call_reply(call, json_object_get(reply));
        else
                reply_failure(call, "Failed", f);
}

static void probe_gone(struct call *call)
{
        probe_cancel(call->data);
}

static void method_probe(struct call *call)
{
        json_object *binaries = json_arr(call->parameters, "binaries");
        struct failure f = {};
        struct probe *p;

        for (size_t i = 0; binaries && i < json_object_array_length(binaries); i++) {
                const char *path = json_object_get_string(json_object_array_get_idx(binaries, i));

                if (!path || !config_allows(&call->daemon->config, path)) {
                        failure_set(&f, EPERM, "%.300s is not among the binaries allowed as a destination",
                                    path);
                        failure_remedy(&f, "use one of those, or add it to \"binaries\" in " CONFIG_PATH);
                        reply_failure(call, "NotUsable", &f);
                        return;
                }
        }
        if (probe_start(call->daemon, binaries, probe_done, call, &p, &f) < 0) {
                reply_failure(call, "Failed", &f);
                return;
        }
        call->data = p;
        call->gone = probe_gone;
}

struct parameter {
        const char *name;
        json_type type;
        bool needed;
};

static const struct method {
        const char *name;
        void (*run)(struct call *call);
        struct parameter parameters[PARAMETERS_MAX];
} methods[] = {
        {"org.varlink.service.GetInfo", method_get_info, {}},
        {"org.varlink.service.GetInterfaceDescription",
         method_get_interface_description,
         {{"interface", json_type_string, true}}},
        {"io.cprd.Probe", method_probe, {{"binaries", json_type_array, false}}},
        {"io.cprd.Register",
         method_register,
         {{"name", json_type_string, true}, {"pid", json_type_int, true}, {"qmp", json_type_string, true}}},
        {"io.cprd.Unregister", method_unregister, {{"name", json_type_string, true}}},
        {"io.cprd.List", method_list, {}},
        {"io.cprd.Describe", method_describe, {{"name", json_type_string, true}}},
        {"io.cprd.Check",
         method_check,
         {{"name", json_type_string, true}, {"binary", json_type_string, false}}},
        {"io.cprd.Handoff",
         method_handoff,
         {{"name", json_type_string, true},
          {"binary", json_type_string, false},
          {"maxPause", json_type_int, false},
          {"strategy", json_type_string, false},
          {"faults", json_type_array, false}}},
        {"io.cprd.Cancel", method_cancel, {{"name", json_type_string, true}}},
        {"io.cprd.History",
         method_history,
         {{"name", json_type_string, false}, {"id", json_type_string, false}}},
};

static const struct parameter *parameter_find(const struct method *m, const char *name)
{
        for (const struct parameter *p = m->parameters; p < m->parameters + PARAMETERS_MAX && p->name; p++)
                if (STREQ(p->name, name))
                        return p;
        return NULL;
}

static bool array_is_of_strings(json_object *array)
{
        for (size_t i = 0; i < json_object_array_length(array); i++)
                if (!json_object_is_type(json_object_array_get_idx(array, i), json_type_string))
                        return false;
        return true;
}

/* The first parameter that is missing, unknown or of a wrong type; NULL: all are well. Null says the same as
 * nothing; the only arrays there are hold strings. */
static const char *parameter_defect(const struct method *m, json_object *parameters)
{
        json_object_object_foreach (parameters, key, value) {
                const struct parameter *p = parameter_find(m, key);

                if (!p || (value && !json_object_is_type(value, p->type)))
                        return key;
                if (p->type == json_type_array && value && !array_is_of_strings(value))
                        return key;
                if (p->type == json_type_string && value &&
                    strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
                        return key;
        }
        for (const struct parameter *p = m->parameters; p < m->parameters + PARAMETERS_MAX && p->name; p++) {
                json_object *given = NULL;

                if (p->needed && (!json_object_object_get_ex(parameters, p->name, &given) || !given))
                        return p->name;
        }
        return NULL;
}

static const struct method *method_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (STREQ(methods[i].name, name))
                        return &methods[i];
        return NULL;
}

/* Either the interface is not there, or the interface has no such method. */
static void reply_not_found(struct call *call, const char *method)
{
        const char *dot = strrchr(method, '.');
        size_t n = dot ? (size_t)(dot - method) : strlen(method);
        char interface[128];

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++)
                if (strlen(interfaces[i].name) == n && strncmp(interfaces[i].name, method, n) == 0) {
                        call_error(call, "org.varlink.service.MethodNotFound", one("method", method));
                        return;
                }
        snprintf(interface, sizeof(interface), "%.*s", (int)(n < 100 ? n : 100), method);
        call_error(call, "org.varlink.service.InterfaceNotFound", one("interface", interface));
}

void api_call(struct call *call, const char *method)
{
        const struct method *m = method_find(method);
        const char *defect;

        if (!m) {
                reply_not_found(call, method);
                return;
        }
        if (!call->caller->allowed && strncmp(method, "io.cprd.", 8) == 0) {
                log_notice("%s may not call %s", call->caller->text, method);
                call_error(call, "PermissionDenied", one("caller", call->caller->text));
                return;
        }
        defect = parameter_defect(m, call->parameters);
        if (defect)
                reply_invalid(call, defect);
        else
                m->run(call);
}
