/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/allow.h"
#include "test.h"

static void paths(void)
{
        _cleanup_json_ json_object *patterns =
                json_tokener_parse("[\"/opt/qemu/*/bin/qemu-*\", \"/usr/bin/q\", 7, null]");
        static const struct {
                const char *path;
                bool allowed;
        } cases[] = {
                {"/usr/bin/q", true},
                {"/opt/qemu/11/bin/qemu-system-x86_64", true},
                {"/opt/qemu/../bin/qemu-x", false},
                {"/opt/qemu/.hidden/bin/qemu-x", false},
                {"/opt/qemu/11/bin/qemu-x/..", false},
                {"/opt/qemu/11/12/bin/qemu-x", false},
                {"usr/bin/q", false},
                {"", false},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                if (allow_path(patterns, cases[i].path) != cases[i].allowed)
                        FAIL("%s is %sallowed", cases[i].path, cases[i].allowed ? "not " : "");
        EXPECT(!allow_path(NULL, "/usr/bin/q"));
        EXPECT(!allow_path(json_object_array_get_idx(patterns, 1), "/usr/bin/q"));
}

static void files(void)
{
        static const struct {
                struct stat st;
                const char *defect;
        } cases[] = {
                {{.st_mode = S_IFREG | 0755}, NULL},
                {{.st_mode = S_IFDIR | 0755}, "is not a regular file"},
                {{.st_mode = S_IFREG | 0644}, "is not executable"},
                {{.st_mode = S_IFREG | 0755, .st_uid = 1}, "is not owned by root"},
                {{.st_mode = S_IFREG | 0775}, "is writable by users other than root"},
                {{.st_mode = S_IFREG | 0757}, "is writable by users other than root"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const char *remedy = NULL, *defect = allow_file_defect(&cases[i].st, &remedy);

                EXPECT_STR(defect ?: "none", cases[i].defect ?: "none");
                EXPECT(!defect || remedy);
        }
}

int main(void)
{
        TEST(paths);
        TEST(files);
        return 0;
}
