/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/learnt.h"

#include "common/file.h"
#include "common/log.h"

#include <fcntl.h>

#define FILE_MAX (1U << 20) /* bytes; one answer has about 5 KB */
#define ONE_MAX  (32U << 10)

void learnt_init(struct learnt *l, const char *runtime)
{
        _cleanup_free_ char *text = NULL;

        *l = (struct learnt){.path = file_path(runtime, "learnt.json")};
        if (file_read(AT_FDCWD, l->path, FILE_MAX, &text, NULL) >= 0)
                l->list = json_tokener_parse(text);
        if (!json_object_is_type(l->list, json_type_array)) {
                json_object_put(l->list);
                l->list = json_object_new_array();
        }
}

void learnt_done(struct learnt *l)
{
        json_object_put(l->list);
        free(l->path);
        *l = (struct learnt){};
}

static bool is_same_file(json_object *a, json_object *b)
{
        return STREQ(json_str(a, "path") ?: "", json_str(b, "path") ?: "") &&
               json_int(a, "dev", -1) == json_int(b, "dev", -2) &&
               json_int(a, "ino", -1) == json_int(b, "ino", -2);
}

void learnt_add(struct learnt *l, json_object *one)
{
        const char *text = json_object_to_json_string_ext(one, JSON_C_TO_STRING_PLAIN);
        int r;

        if (!json_str(one, "path") || strlen(text) > ONE_MAX)
                return;
        for (size_t i = json_object_array_length(l->list); i-- > 0;)
                if (is_same_file(json_object_array_get_idx(l->list, i), one))
                        json_object_array_del_idx(l->list, i, 1);
        if (json_object_array_length(l->list) >= LEARNT_MAX)
                json_object_array_del_idx(l->list, 0, 1);
        json_object_array_add(l->list, json_object_get(one));
        r = file_write(l->path, json_object_to_json_string_ext(l->list, JSON_C_TO_STRING_PLAIN), 0600);
        if (r < 0)
                log_warning("cannot save %s; a restart of cprd will forget it: %s", l->path, strerror(-r));
}

static bool is_named(const char *path, const char *wanted)
{
        const char *slash = strrchr(path, '/');

        return STREQ(path, wanted) || (wanted[0] != '/' && STREQ(slash ? slash + 1 : path, wanted));
}

json_object *learnt_find(const struct learnt *l, const char *path)
{
        json_object *found = json_object_new_array();

        for (size_t i = 0; i < json_object_array_length(l->list); i++) {
                json_object *one = json_object_array_get_idx(l->list, i);

                if (is_named(json_str(one, "path") ?: "", path))
                        json_object_array_add(found, json_object_get(one));
        }
        return found;
}
