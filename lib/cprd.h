/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * libcprd: the API of cprd (io.cprd, see io.cprd.varlink) for programs that drive it, such as a migration
 * controller. Calls are synchronous; one connection carries one call at a time and belongs to one thread.
 * Functions return 0 or more, or a negative errno.
 */

#include <json-c/json.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CPRD_ADDRESS "/run/cprd/io.cprd"

struct cprd;

/* Connects to the daemon. @path NULL: the environment's CPRD_SOCKET, else CPRD_ADDRESS. ENOENT, ECONNREFUSED:
 * the daemon is not running; EACCES: the caller is neither root nor in the group cprd. */
int cprd_connect(const char *path, struct cprd **ret);

/* Closes the connection. A handoff that was requested over it continues. Returns NULL; NULL is allowed. */
struct cprd *cprd_free(struct cprd *c);

/* The connection's socket, borrowed. */
int cprd_fd(const struct cprd *c);

/* While a call is waiting, @tick is called about every @msec milliseconds and whenever a signal arrives: to
 * animate a terminal, or to decide whether to carry on. A negative return value ends the call with that
 * value. NULL turns this off. */
void cprd_set_tick(struct cprd *c, int msec, int (*tick)(void *userdata), void *userdata);

/* Called for each reply of a call but the last; @parameters are borrowed. A negative return value ends the
 * call with that value and makes the connection unusable. */
typedef int (*cprd_reply_t)(json_object *parameters, void *userdata);

/*
 * Calls a method, for example "io.cprd.List", and waits for its (last) reply. Takes over the reference
 * to @parameters; NULL: none. With @each the call is made with `more`, and @each is called for every reply
 * but the last.
 *
 * Returns 0: the reply's parameters are in *ret_parameters. Returns 1: the method replied with an error; its
 * name is in *ret_error, which the caller must free, its parameters are in *ret_parameters. Less than 0: the
 * connection failed (EPIPE: the daemon closed it; EBADMSG: what arrived was not Varlink) and cannot be used
 * any more. The caller must put *ret_parameters. Neither pointer may be NULL.
 */
int cprd_call(struct cprd *c, const char *method, json_object *parameters, cprd_reply_t each, void *userdata,
              json_object **ret_parameters, char **ret_error);

#ifdef __cplusplus
}
#endif
