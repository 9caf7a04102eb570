/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/mend.h"

#include "common/log.h"
#include "handoff/fault.h"
#include "handoff/wait.h"

/* Members of query-block's `inserted` and arguments of block_set_io_throttle; these it wants always, … */
static const char *const limits[] = {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"};
/* … and these if they are set. */
static const char *const more[] = {
        "bps_max",           "bps_rd_max",      "bps_wr_max",         "iops_max",
        "iops_rd_max",       "iops_wr_max",     "bps_max_length",     "bps_rd_max_length",
        "bps_wr_max_length", "iops_max_length", "iops_rd_max_length", "iops_wr_max_length",
        "iops_size",         "group",
};

static json_object *member(json_object *o, const char *key)
{
        json_object *value = NULL;

        json_object_object_get_ex(o, key, &value);
        return value;
}

static bool is_throttled_alike(json_object *a, json_object *b)
{
        for (size_t i = 0; i < ELEMENTSOF(limits); i++)
                if (!json_object_equal(member(a, limits[i]), member(b, limits[i])))
                        return false;
        for (size_t i = 0; i < ELEMENTSOF(more); i++)
                if (!json_object_equal(member(a, more[i]), member(b, more[i])))
                        return false;
        return true;
}

/* What a drive is called in both: by its device, or else by itself. */
static const char *name_of(json_object *drive, const char **ret_key)
{
        const char *qdev = json_str(drive, "qdev"), *device = json_str(drive, "device");

        *ret_key = qdev && *qdev ? "id" : "device";
        return qdev && *qdev ? qdev : device;
}

static json_object *find_drive(json_object *drives, const char *name)
{
        const char *key;

        for (size_t i = 0; i < json_object_array_length(drives); i++)
                if (STREQ(name_of(json_object_array_get_idx(drives, i), &key) ?: "", name))
                        return json_object_array_get_idx(drives, i);
        return NULL;
}

static json_object *make_arguments(const char *key, const char *name, json_object *inserted)
{
        json_object *o = qmp_arguments(key, name, NULL);

        for (size_t i = 0; i < ELEMENTSOF(limits); i++)
                json_add_int(o, limits[i], json_int(inserted, limits[i], 0));
        for (size_t i = 0; i < ELEMENTSOF(more); i++)
                if (member(inserted, more[i]))
                        json_add(o, more[i], json_object_get(member(inserted, more[i])));
        return o;
}

static int mend_drive(struct handoff *h, json_object *drive, json_object *others, struct failure *f)
{
        const char *key, *name = name_of(drive, &key);
        json_object *inserted = json_obj(drive, "inserted"), *other = name ? find_drive(others, name) : NULL;
        struct failure refused = {};
        int r;

        if (!inserted || !json_obj(other, "inserted") ||
            is_throttled_alike(inserted, json_obj(other, "inserted")))
                return 0;
        r = wait_qmp(h, h->destination.qmp, "block_set_io_throttle", make_arguments(key, name, inserted),
                     NULL, &refused);
        if (r == -EREMOTEIO)
                log_failure(LOG_NOTICE, &refused, "limits of drive %s", name);
        return r < 0 && r != -EREMOTEIO ? failure_pass(f, &refused) : 0;
}

int mend_throttling(struct handoff *h, struct failure *f)
{
        struct qmp_question source = {.command = "query-block"}, destination = {.command = "query-block"};
        int r = 0;

        /* The control experiment of the tests: what is lost without it, and without the comparison. */
        if (fault_is_set(h, "no-match"))
                return 0;
        r = wait_answers(h, &source, 1, &destination, 1, f);
        if (r >= 0 && json_object_is_type(source.reply, json_type_array) &&
            json_object_is_type(destination.reply, json_type_array))
                for (size_t i = 0; r >= 0 && i < json_object_array_length(source.reply); i++)
                        r = mend_drive(h, json_object_array_get_idx(source.reply, i), destination.reply, f);
        qmp_question_done(&source);
        qmp_question_done(&destination);
        return r < 0 ? r : 0;
}
