/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/question.h"

#include <stdarg.h>

void qmp_question_done(struct qmp_question *question)
{
        json_object_put(question->arguments);
        json_object_put(question->reply);
        free(question->error);
        *question = (struct qmp_question){};
}

json_object *qmp_arguments(const char *key, ...)
{
        json_object *o = json_object_new_object();
        va_list ap;

        va_start(ap, key);
        for (; key; key = va_arg(ap, const char *))
                json_add_str(o, key, va_arg(ap, const char *));
        va_end(ap);
        return o;
}

char *qmp_version_text(json_object *version)
{
        json_object *v = json_obj(version, "qemu");

        return text_print("%d.%d.%d", (int)json_int(v, "major", 0), (int)json_int(v, "minor", 0),
                          (int)json_int(v, "micro", 0));
}
