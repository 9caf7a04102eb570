/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* cprctl's side of the API: connecting, calling, and explaining errors in a way that helps. */

#include "lib/cprd.h"
#include "proto/base.h"

/* Exit statuses of cprctl. */
enum {
        EXIT_UPDATED = 0, /* or: done */
        EXIT_REFUSED = 1, /* by a check, with nothing touched; or: it failed */
        EXIT_STILL_ON_SOURCE = 2,
        EXIT_NEEDS_OPERATOR = 3,
        EXIT_USAGE = 64,
        EXIT_INTERRUPTED = 130, /* the handoff continues */
};

struct options {
        const char *socket; /* NULL: the default one */
        bool json, rehearse;
        const char *name, *qmp, *qemu, *id;
        int64_t pid;
        int64_t max_pause;   /* µs; 0: the daemon's */
        json_object *faults; /* array; NULL: none */
        int64_t since;       /* µs of CLOCK_REALTIME; 0: always */
        bool all, outdated, yes;
        char **arguments; /* names of VMs, or of binaries for probe */
        int n_arguments;
};

/* Connects, or says on stderr what to do and returns a negative errno. */
int client_connect(const struct options *o, struct cprd **ret);

/* What an error reply means, for people. */
const char *client_error_text(const char *error, json_object *parameters, char *text, size_t size);

/* Says what an error reply means: on stderr for people, and with --json on stdout for programs. */
void client_error(const struct options *o, const char *error, json_object *parameters);

/* cprd_call(), with everything the daemon sends made safe for a terminal, unless it will be printed as JSON.
 * All replies come in this way. */
int client_converse(const struct options *o, struct cprd *c, const char *method, json_object *parameters,
                    cprd_reply_t each, void *userdata, json_object **ret, char **ret_error);

/* Calls a method of io.cprd, or of another interface by its full name. Takes over the reference to
 * @parameters. Returns an exit status: 0, and the reply is the caller's to put; or EXIT_REFUSED, and stderr
 * says why. */
int client_call(const struct options *o, const char *method, json_object *parameters, json_object **ret);

/* {"name": o->name}, or {} where there is none. */
json_object *client_name(const struct options *o);

/* Prints a reply for programs. */
void client_print_json(json_object *reply);
