/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/reply.h"

json_object *reply_object(const char *key, const char *value)
{
        json_object *o = json_object_new_object();

        json_add_str(o, key, value);
        return o;
}

void reply_failure(struct call *call, const char *error, const struct failure *f)
{
        json_object *o = reply_object("what", f->what[0] ? f->what : strerror(f->error));

        json_add_str(o, "remedy", f->remedy[0] ? f->remedy : NULL);
        call_error(call, error, o);
}

void reply_invalid(struct call *call, const char *parameter)
{
        call_error(call, "org.varlink.service.InvalidParameter", reply_object("parameter", parameter));
}
