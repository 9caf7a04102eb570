/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/parameters.h"

static const struct parameter *find(const struct parameter *known, const char *name)
{
        for (const struct parameter *p = known; p < known + PARAMETERS_MAX && p->name; p++)
                if (STREQ(p->name, name))
                        return p;
        return NULL;
}

/* C strings end at a NUL and would lose what follows. */
static bool is_text(json_object *value)
{
        return json_object_is_type(value, json_type_string) &&
               strlen(json_object_get_string(value)) == (size_t)json_object_get_string_len(value);
}

static bool is_of(json_object *value, json_type type)
{
        if (type == json_type_string)
                return is_text(value);
        if (!json_object_is_type(value, type))
                return false;
        for (size_t i = 0; type == json_type_array && i < json_object_array_length(value); i++)
                if (!is_text(json_object_array_get_idx(value, i)))
                        return false;
        return true;
}

const char *parameters_defect(const struct parameter *known, json_object *parameters)
{
        json_object_object_foreach (parameters, key, value) {
                const struct parameter *p = find(known, key);

                if (!p || (value && !is_of(value, p->type)))
                        return key;
        }
        for (const struct parameter *p = known; p < known + PARAMETERS_MAX && p->name; p++) {
                json_object *given = NULL;

                if (p->needed && (!json_object_object_get_ex(parameters, p->name, &given) || !given))
                        return p->name;
        }
        return NULL;
}
