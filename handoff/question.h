/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A question to a QEMU over QMP, with its answer. */

#include "proto/base.h"

struct qmp_question {
        const char *command;    /* borrowed */
        json_object *arguments; /* owned, until it has been asked; may be NULL */
        json_object *reply;     /* owned: the `return`, of whatever type; NULL: an error, or none yet */
        char *error;            /* owned: QEMU's words; NULL: no error, or none yet */
};

void qmp_question_done(struct qmp_question *question);

/* Makes an arguments object of string pairs: qmp_arguments("path", "/machine", "property", "type", NULL). */
json_object *qmp_arguments(const char *key, ...) __attribute__((sentinel));

/* The version in the reply of query-version, as text; the caller's to free. */
char *qmp_version_text(json_object *version);
