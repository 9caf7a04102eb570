/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/api.h"

#include "common/log.h"
#include "daemon/api-jobs.h"
#include "daemon/api-service.h"
#include "daemon/api-vms.h"
#include "daemon/parameters.h"
#include "daemon/reply.h"

static const struct method {
        const char *name;
        void (*run)(struct call *call);
        struct parameter parameters[PARAMETERS_MAX];
} methods[] = {
        {"org.varlink.service.GetInfo", api_get_info, {}},
        {"org.varlink.service.GetInterfaceDescription",
         api_get_interface_description,
         {{"interface", json_type_string, true}}},
        {"io.cprd.Probe", api_probe, {{"binaries", json_type_array, false}}},
        {"io.cprd.Register",
         api_register,
         {{"name", json_type_string, true}, {"pid", json_type_int, true}, {"qmp", json_type_string, true}}},
        {"io.cprd.Unregister", api_unregister, {{"name", json_type_string, true}}},
        {"io.cprd.List", api_list, {}},
        {"io.cprd.Describe", api_describe, {{"name", json_type_string, true}}},
        {"io.cprd.Check", api_check, {{"name", json_type_string, true}, {"binary", json_type_string, false}}},
        {"io.cprd.Handoff",
         api_handoff,
         {{"name", json_type_string, true},
          {"binary", json_type_string, false},
          {"maxPause", json_type_int, false},
          {"rehearse", json_type_boolean, false},
          {"faults", json_type_array, false}}},
        {"io.cprd.Cancel", api_cancel, {{"name", json_type_string, true}}},
        {"io.cprd.History",
         api_history,
         {{"name", json_type_string, false}, {"id", json_type_string, false}}},
};

static const struct method *method_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTSOF(methods); i++)
                if (STREQ(methods[i].name, name))
                        return &methods[i];
        return NULL;
}

void api_call(struct call *call, const char *method)
{
        const struct method *m = method_find(method);
        const char *defect;

        if (!m) {
                api_not_found(call, method);
                return;
        }
        if (!call->caller->allowed && strncmp(method, "io.cprd.", 8) == 0) {
                log_notice("%s may not call %s", call->caller->text, method);
                call_error(call, "PermissionDenied", reply_object("caller", call->caller->text));
                return;
        }
        defect = parameters_defect(m->parameters, call->parameters);
        if (defect)
                reply_invalid(call, defect);
        else
                m->run(call);
}
