/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What cprctl can be told to do. Each takes the options and returns an exit status. */

#include "cli/client.h"

int verb_probe(const struct options *o);
int verb_register(const struct options *o);
int verb_unregister(const struct options *o);
int verb_list(const struct options *o);
int verb_show(const struct options *o);
int verb_check(const struct options *o);
int verb_cancel(const struct options *o);
int verb_history(const struct options *o);

int verb_handoff(const struct options *o); /* handoff.c */
/* 0, 2, 3 or 1 by the Record's outcome. */
int outcome_status(json_object *record);
