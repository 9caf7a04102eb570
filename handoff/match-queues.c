/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

#include "handoff/wait.h"

/*
 * Virtio queues. A load fails in the pause if one of the source's has more entries than the destination has
 * room for: QEMU 10.0.3 and later of that series give every queue of virtio-pci 1024, whatever was asked for.
 * All queues of a device are asked for, a few at a time, until the destination has no more: a number beyond
 * the last is answered with an error. A source may have fewer: a NIC drops those that its guest does not
 * want, in the load too. And a NIC whose guest wants several pairs gets them in the load: its queues are
 * compared by what they are for.
 */

#define QUEUES_AT_ONCE 4
#define QUEUES_MAX     1024 /* VIRTIO_QUEUE_MAX of QEMU */
#define DEVICES_MAX    256
#define NIC_MAX        (2 * 256 + 1)

static bool has_path(json_object *list, const char *path)
{
        for (size_t i = 0; i < json_object_array_length(list); i++)
                if (STREQ(json_str(json_object_array_get_idx(list, i), "path") ?: "", path))
                        return true;
        return false;
}

static void make_questions(struct qmp_question *ret, size_t n, const char *path, size_t first)
{
        for (size_t i = 0; i < n; i++) {
                ret[i] = (struct qmp_question){.command = "x-query-virtio-queue-status",
                                               .arguments = qmp_arguments("path", path, NULL)};
                json_add_int(ret[i].arguments, "queue", (int64_t)(first + i));
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

static void tell_room(struct match *m, const char *path, const char *kind, size_t i, int64_t has,
                      int64_t room)
{
        char name[128];

        device_name(path, name, sizeof(name));
        match_differs(m, "queue",
                      "no such QEMU can take this guest over: use one of the source's own series, or "
                      "restart the VM with it",
                      "queue %zu of %s (%s) has %ld entries in the source, and room for %ld in the "
                      "destination: it would not load",
                      i, name, kind, (long)has, (long)room);
}

static void compare_queue(struct match *m, const char *path, const char *kind, size_t i,
                          const struct qmp_question *source, const struct qmp_question *destination)
{
        int64_t has = json_int(source->reply, "vring-num", -1),
                room = json_int(destination->reply, "vring-num-default", -1);
        char name[128];

        device_name(path, name, sizeof(name));
        if (!source->reply)
                return;
        if (!destination->reply)
                match_differs(m, "queue", "restart the VM with this device as it is now",
                              "queue %zu of %s (%s) is in the source only", i, name, kind);
        else if (has > room)
                tell_room(m, path, kind, i, has, room);
}

/* Compares those from @first on. Returns how many of them the destination has. */
static int compare_some(struct match *m, const char *path, const char *kind, size_t first, struct failure *f)
{
        struct qmp_question source[QUEUES_AT_ONCE] = {}, destination[QUEUES_AT_ONCE] = {};
        size_t n = 0, n_source, differ = m->n_differences;
        int r;

        make_questions(destination, QUEUES_AT_ONCE, path, first);
        r = wait_answers(m->h, NULL, 0, destination, QUEUES_AT_ONCE, f);
        while (r >= 0 && n < QUEUES_AT_ONCE && destination[n].reply)
                n++;
        /* One more, which the source does not have either. */
        n_source = n < QUEUES_AT_ONCE ? n + 1 : n;
        make_questions(source, n_source, path, first);
        if (r >= 0)
                r = wait_answers(m->h, source, n_source, NULL, 0, f);
        for (size_t i = 0; i < QUEUES_AT_ONCE; i++) {
                /* One tells enough of a device. */
                if (r >= 0 && i < n_source && m->n_differences == differ)
                        compare_queue(m, path, kind, first + i, &source[i], &destination[i]);
                qmp_question_done(&source[i]);
                qmp_question_done(&destination[i]);
        }
        return r < 0 ? r : (int)n;
}

/* ---- NICs ---- */

/* The member @key of what one side says of each queue of a device. Returns how many queues it has. */
static int collect(struct match *m, bool of_source, const char *path, const char *key,
                   int64_t ret[static NIC_MAX], struct failure *f)
{
        int r = 0, n = 0;

        for (bool more = true; more;) {
                struct qmp_question some[QUEUES_AT_ONCE] = {};

                make_questions(some, QUEUES_AT_ONCE, path, (size_t)n);
                r = of_source ? wait_answers(m->h, some, QUEUES_AT_ONCE, NULL, 0, f)
                              : wait_answers(m->h, NULL, 0, some, QUEUES_AT_ONCE, f);
                more = r >= 0;
                for (size_t i = 0; i < QUEUES_AT_ONCE; i++) {
                        more = more && some[i].reply && n < NIC_MAX;
                        if (more)
                                ret[n++] = json_int(some[i].reply, key, -1);
                        qmp_question_done(&some[i]);
                }
        }
        return r < 0 ? r : n;
}

/* Pairs of queues for receiving and sending, all alike, and one for control at the end. */
static int compare_nic(struct match *m, const char *path, const char *kind, struct failure *f)
{
        int64_t has[NIC_MAX], room[NIC_MAX];
        int n_room = collect(m, false, path, "vring-num-default", room, f),
            n = n_room < 0 ? n_room : collect(m, true, path, "vring-num", has, f);
        size_t differ = m->n_differences;

        for (int i = 0; n_room >= 3 && i < n && m->n_differences == differ; i++) {
                int64_t this_room = room[i == n - 1 ? n_room - 1 : i % 2];

                if (has[i] > this_room)
                        tell_room(m, path, kind, (size_t)i, has[i], this_room);
        }
        return n < 0 ? n : n_room;
}

/* ---- all of a device ---- */

static int compare_device(struct match *m, json_object *device, struct failure *f)
{
        const char *path = json_str(device, "path"), *kind = json_str(device, "name") ?: "virtio";
        size_t differ = m->n_differences;
        int n = STREQ(kind, "virtio-net") ? compare_nic(m, path, kind, f) : 0;

        if (n != 0) /* a NIC, or it could not be compared */
                return n < 0 ? n : 0;
        n = QUEUES_AT_ONCE;
        for (size_t first = 0; n == QUEUES_AT_ONCE && first < QUEUES_MAX && m->n_differences == differ;
             first += QUEUES_AT_ONCE)
                n = compare_some(m, path, kind, first, f);
        return n < 0 ? n : 0;
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
