/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/api-service.h"

#include "daemon/reply.h"
#include "io-cprd-varlink.h"

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

void api_get_info(struct call *call)
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

void api_get_interface_description(struct call *call)
{
        const char *name = json_str(call->parameters, "interface");

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++)
                if (STREQ(interfaces[i].name, name)) {
                        call_reply(call, reply_object("description", interfaces[i].description));
                        return;
                }
        call_error(call, "org.varlink.service.InterfaceNotFound", reply_object("interface", name));
}

/* Either there is no such interface, or the interface has no such method. */
void api_not_found(struct call *call, const char *method)
{
        const char *dot = strrchr(method, '.');
        size_t n = dot ? (size_t)(dot - method) : strlen(method);
        char interface[128];

        for (size_t i = 0; i < ELEMENTSOF(interfaces); i++)
                if (strlen(interfaces[i].name) == n && strncmp(interfaces[i].name, method, n) == 0) {
                        call_error(call, "org.varlink.service.MethodNotFound",
                                   reply_object("method", method));
                        return;
                }
        snprintf(interface, sizeof(interface), "%.*s", (int)(n < 100 ? n : 100), method);
        call_error(call, "org.varlink.service.InterfaceNotFound", reply_object("interface", interface));
}
