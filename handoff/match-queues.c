/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

#include "handoff/wait.h"

/*
 * Virtio queues. A load fails in the pause if one of the source's has more entries than the destination has
 * room for: QEMU 10.0.3 and later of that series give every queue of virtio-pci 1024, whatever was asked for.
 * A device's first queues are enough: how many there are, and of which size, follows from properties, which
 * are compared.
 */

#define QUEUES_ASKED 4
#define DEVICES_MAX  256

static bool has_path(json_object *list, const char *path)
{
        for (size_t i = 0; i < json_object_array_length(list); i++)
                if (STREQ(json_str(json_object_array_get_idx(list, i), "path") ?: "", path))
                        return true;
        return false;
}

static void make_questions(struct qmp_question *ret, size_t n, const char *path)
{
        for (size_t i = 0; i < n; i++) {
                ret[i] = (struct qmp_question){.command = "x-query-virtio-queue-status",
                                               .arguments = qmp_arguments("path", path, NULL)};
                json_add_int(ret[i].arguments, "queue", (int64_t)i);
        }
}

/* A device's name for people: its id, which is in its path. */
static void device_name(const char *path, char *name, size_t size)
{
        static const char peripheral[] = "/machine/peripheral/";

        if (strncmp(path, peripheral, strlen(peripheral)) == 0)
                path += strlen(peripheral);
        snprintf(name, size, "%.*s", (int)strcspn(path, path[0] == '/' ? "" : "/"), path);
}

static void compare_queue(struct match *m, const char *path, const char *kind, size_t i,
                          const struct qmp_question *source, const struct qmp_question *destination)
{
        int64_t has = json_int(source->reply, "vring-num", -1),
                room = json_int(destination->reply, "vring-num-default", -1);
        char name[128];

        device_name(path, name, sizeof(name));
        if (source->error)
                match_differs(m, "queue", "restart the VM with this device as it is now",
                              "queue %zu of %s (%s) is in the destination only", i, name, kind);
        else if (has > room)
                match_differs(m, "queue",
                              "no such QEMU can take this guest over: use one of the source's own series, or "
                              "restart the VM with it",
                              "queue %zu of %s (%s) has %ld entries in the source, and room for %ld in the "
                              "destination: it would not load",
                              i, name, kind, (long)has, (long)room);
}

static int compare_device(struct match *m, json_object *device, struct failure *f)
{
        const char *path = json_str(device, "path"), *kind = json_str(device, "name") ?: "virtio";
        struct qmp_question source[QUEUES_ASKED] = {}, destination[QUEUES_ASKED] = {};
        size_t n = 0, differ = m->n_differences;
        int r;

        make_questions(destination, QUEUES_ASKED, path);
        r = wait_answers(m->h, NULL, 0, destination, QUEUES_ASKED, f);
        while (r >= 0 && n < QUEUES_ASKED && destination[n].reply)
                n++;
        make_questions(source, n, path);
        if (r >= 0)
                r = wait_answers(m->h, source, n, NULL, 0, f);
        for (size_t i = 0; i < QUEUES_ASKED; i++) {
                /* One per device is enough. */
                if (r >= 0 && i < n && m->n_differences == differ)
                        compare_queue(m, path, kind, i, &source[i], &destination[i]);
                qmp_question_done(&source[i]);
                qmp_question_done(&destination[i]);
        }
        return r;
}

/* A device that only one of both has is a difference already. */
int match_queues(struct match *m, struct failure *f)
{
        json_object *a, *b;
        int r = 0;

        if (!match_answers(m, MATCH_VIRTIO, json_type_array, &a, &b))
                return 0;
        for (size_t i = 0; r >= 0 && i < json_object_array_length(b) && i < DEVICES_MAX; i++) {
                json_object *device = json_object_array_get_idx(b, i);

                if (has_path(a, json_str(device, "path") ?: "?"))
                        r = compare_device(m, device, f);
        }
        return r;
}
