/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/file.h"
#include "daemon/history.h"
#include "daemon/learnt.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

static char directory[] = "/tmp/cprd-test-history-XXXXXX";
static struct history h;

static void load(int64_t limit)
{
        struct failure f = {};

        history_done(&h);
        if (history_init(&h, directory, limit, &f) < 0)
                FAIL("%s", f.what);
}

static void add(const char *id, const char *name, size_t size)
{
        _cleanup_json_ json_object *record = json_object_new_object();
        _cleanup_free_ char *text = calloc(1, size + 1);
        struct failure f = {};

        memset(text, 'x', size);
        json_add_str(record, "id", id);
        json_add_str(record, "reason", text);
        if (history_add(&h, id, name, record, &f) < 0)
                FAIL("%s", f.what);
}

/* The listed ids, one after the other. */
static void expect(const char *name, const char *id, const char *ids)
{
        _cleanup_json_ json_object *raw = history_list(&h, name, id), *list = NULL;
        char text[512] = "";

        list = json_tokener_parse(json_object_to_json_string_ext(raw, JSON_C_TO_STRING_PLAIN));
        EXPECT(list);

        for (size_t i = 0; i < json_object_array_length(list) && strlen(text) < 400; i++)
                strcat(text, json_str(json_object_array_get_idx(list, i), "id"));
        EXPECT_STR(text, ids);
}

static void list(void)
{
        load(10);
        add("a", "web-1", 10);
        add("b", "web.2", 10);
        add("c", "web-1", 10);
        add("c", "web-1", 10);
        for (int i = 0; i < 2; i++) {
                expect(NULL, NULL, "cba");
                expect("web-1", NULL, "ca");
                expect("web.2", "b", "b");
                expect("web.2", "a", "");
                expect("web", NULL, "");
                EXPECT(history_has(&h, "b") && !history_has(&h, "d"));
                load(10); /* and the same after a restart */
        }
}

static void oldest_go(void)
{
        load(3);
        add("d", "web3", 10);
        expect(NULL, NULL, "dcb");
        load(2);
        expect(NULL, NULL, "dc");
        load(10);
        expect(NULL, NULL, "dc");
}

/* A reply stays within the size that clients accept. */
static void reply_is_bounded(void)
{
        load(1000);
        for (int i = 0; i < 10; i++)
                add((char[]){(char)('0' + i), '\0'}, "big", 200000);
        expect("big", NULL, "987");
        load(2);
        load(1000);
        for (int i = 0; i < HISTORY_REPLY_MAX + 20; i++) {
                char id[16];

                snprintf(id, sizeof(id), "e%d", i);
                add(id, "many", 10);
        }
        {
                _cleanup_json_ json_object *all = history_list(&h, "many", NULL);

                EXPECT_INT(json_object_array_length(all), HISTORY_REPLY_MAX);
        }
        load(1);
}

/* Files of others are left alone and not listed; corrupt ones are left out. */
static void foreign_files(void)
{
        static const char *const names[] = {"x.json", "00000000000000001-a-..json",
                                            "00000000000000002-A-b.json", "00000000000000003-abc.json",
                                            "1-a-b.json.new"};

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = file_path(directory, "history/%s", names[i]);

                EXPECT_INT(file_write(path, "{}", 0600), 0);
        }
        {
                _cleanup_free_ char *path =
                        file_path(directory, "history/%s", "00000000000000004-f-web1.json");

                EXPECT_INT(file_write(path, "[1,", 0600), 0);
        }
        load(1000);
        EXPECT_INT(h.n, 2);
        expect("web1", NULL, "");
        load(1);
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = file_path(directory, "history/%s", names[i]);

                EXPECT(access(path, F_OK) == 0);
        }
}

static void expect_learnt(const struct learnt *l, const char *path, size_t n)
{
        _cleanup_json_ json_object *found = learnt_find(l, path);

        EXPECT_INT(json_object_array_length(found), n);
}

static void learn(struct learnt *l, const char *path, int ino)
{
        _cleanup_json_ json_object *one = json_object_new_object();

        json_add_str(one, "path", path);
        json_add_int(one, "dev", 1);
        json_add_int(one, "ino", ino);
        learnt_add(l, one);
}

static void learnt(void)
{
        struct learnt l;

        learnt_init(&l, directory);
        learn(&l, "/usr/bin/qemu-a", 1);
        learn(&l, "/usr/bin/qemu-a", 1);
        learn(&l, "/usr/bin/qemu-a", 2); /* in another mount namespace */
        learn(&l, "/opt/qemu-a", 1);
        for (int i = 0; i < 2; i++) {
                expect_learnt(&l, "/usr/bin/qemu-a", 2);
                expect_learnt(&l, "qemu-a", 3);
                expect_learnt(&l, "/bin/qemu-a", 0);
                learnt_done(&l);
                learnt_init(&l, directory);
        }
        for (int i = 0; i < LEARNT_MAX; i++)
                learn(&l, "/opt/qemu-b", i);
        expect_learnt(&l, "/opt/qemu-b", LEARNT_MAX);
        expect_learnt(&l, "qemu-a", 0);
        learnt_done(&l);
}

int main(void)
{
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        EXPECT(mkdtemp(directory));
        path = file_path(directory, "history");
        EXPECT(mkdir(path, 0700) == 0);
        TEST(list);
        TEST(oldest_go);
        TEST(reply_is_bounded);
        TEST(foreign_files);
        TEST(learnt);
        history_done(&h);
        EXPECT_INT(file_remove_tree(tmp, directory + strlen("/tmp/")), 0);
        return 0;
}
