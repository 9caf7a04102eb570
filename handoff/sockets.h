/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The stream sockets that a process holds: TCP and unix. */

#include "common/process.h"

#include <sys/types.h>

struct socket_fd {
        int number; /* the process's */
        ino_t inode;
        bool listens, is_unix;
        char host[64];     /* its own address: numeric, or "" */
        char service[112]; /* the port, or the path; "" if it has none */
};

/* *ret is the caller's to free. Returns how many there are, or a negative errno. */
int sockets_list(const struct process *p, struct socket_fd **ret);
/* The number of an fd of that inode. ENOENT. */
int sockets_find(const struct process *p, ino_t inode);
