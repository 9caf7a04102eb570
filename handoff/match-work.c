/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/match.h"

/* Work in the source's block layer that would end with it: no destination can have it. */

static json_object *array_of(struct match *m, enum match_question question)
{
        json_object *o = m->source[question].reply;

        return json_object_is_type(o, json_type_array) ? o : NULL;
}

static void refuse_jobs(struct match *m)
{
        json_object *jobs = array_of(m, MATCH_JOBS);

        for (size_t i = 0; jobs && i < json_object_array_length(jobs); i++) {
                json_object *job = json_object_array_get_idx(jobs, i);
                const char *status = json_str(job, "status") ?: "?";

                if (!STREQ(status, "concluded"))
                        match_differs(m, "block-job", "wait for it, or cancel it (block-job-cancel)",
                                      "job %s (%s) is %s in the source", json_str(job, "id") ?: "?",
                                      json_str(job, "type") ?: "?", status);
        }
}

static void refuse_exports(struct match *m)
{
        json_object *exports = array_of(m, MATCH_EXPORTS);

        for (size_t i = 0; exports && i < json_object_array_length(exports); i++) {
                json_object *o = json_object_array_get_idx(exports, i);

                match_differs(m, "block-export", "end it (block-export-del)",
                              "the source exports %s (%s, %s)", json_str(o, "node-name") ?: "?",
                              json_str(o, "type") ?: "?", json_str(o, "id") ?: "?");
        }
}

/* Persistent ones are in the image, which the source stores them to. */
static void refuse_bitmaps(struct match *m, json_object *node)
{
        json_object *bitmaps = json_arr(node, "dirty-bitmaps");

        for (size_t i = 0; bitmaps && i < json_object_array_length(bitmaps); i++) {
                json_object *o = json_object_array_get_idx(bitmaps, i);
                const char *name = json_str(o, "name");

                if (name && *name && !json_flag(o, "persistent"))
                        match_differs(
                                m, "bitmap",
                                "remove it (block-dirty-bitmap-remove), and take a full backup next; or use "
                                "persistent ones",
                                "the dirty bitmap %s of node %s is in the source's memory only", name,
                                json_str(node, "node-name") ?: "?");
        }
}

void match_work(struct match *m)
{
        json_object *nodes = array_of(m, MATCH_NODES);

        refuse_jobs(m);
        refuse_exports(m);
        for (size_t i = 0; nodes && i < json_object_array_length(nodes); i++)
                refuse_bitmaps(m, json_object_array_get_idx(nodes, i));
}
