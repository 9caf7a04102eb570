/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/inherit.h"

#include <sys/stat.h>

/*
 * The listening unix sockets that the destination gets in place of the source's: bound beside the paths that
 * clients know, as PATH.cprd-ID, and renamed over them when the source is gone.
 *
 * The paths come from the source's command line, which its user may have made up, and usually lead to that
 * user's directories. So everything done to them is done with that user's file rights (setfsuid(2)).
 */

#define LISTENER_NAME_MAX 108 /* sun_path, with its NUL */

/* The name of @l before it is published. ENAMETOOLONG: it has none. */
int listener_name(const struct handoff *h, const struct vm_socket *l, char name[static LISTENER_NAME_MAX]);

/* A management layer may have given the old socket to somebody other than the source's user, @made_by. EPERM:
 * the socket at @name is not the one that was made there. */
int listener_give_owner(const char *name, uid_t made_by, const struct stat *old);

/* Hooks of the table in resources.c. */

void listeners_recover(struct handoff *h);

/* Binds them all; they do not listen yet. */
int listeners_make(struct handoff *h, struct failure *f);
int listeners_inherit(struct handoff *h, struct inheritance *in, struct failure *f);
/* In the child, not where they are bound: SO_PEERCRED names to clients the process that called listen(2). */
void listeners_listen(const struct cmdline_facts *facts);
/* Renames them over the paths that clients know. No-op for one that already has been. */
int listeners_publish(struct handoff *h, struct failure *f);
/* Closes ours: a listening socket of a dead destination must not go on taking connections. */
void listeners_close(struct handoff *h);
/* Closes and removes what has been made and will not be published. */
void listeners_remove(struct handoff *h);
