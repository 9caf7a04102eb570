/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The destination's command line, made from the source's. The same machine, with what belongs to the process
 * instead of the machine replaced: the binary, the vsock device's fd, the listening sockets (two processes
 * cannot bind one path, and QEMU unlinks a path that it bound itself when it exits), and how it starts. An
 * option whose meaning for two QEMUs at once is not known to be harmless is a blocker, not a hope. QEMU:
 * qemu-options.hx.
 */

#include "common/finding.h"

struct cmdline {
        char **argv; /* NULL-terminated, owned */
        size_t n;
};

/* A unix socket on which the VM listens; cprd-handoff makes the destination's and gives it its name later. */
struct vm_socket {
        char *path;         /* where clients find it */
        char *label;        /* owned: of its chardev in the destination; NULL: a client has more than bytes */
        char *source_label; /* owned: the same in the source */
        int fd_number;      /* the destination's number of it */
        int fd;             /* owned: the listening socket, -EBADF while there is none */
};

#define LISTENERS_MAX 16

/* Guest memory in a file that has no name (any more): the destination gets the source's own fd. */
struct memory_file {
        int source_fd; /* the source's number of it */
        int fd_number; /* the destination's */
};

#define MEMORY_FILES_MAX 16

/* A queue of a TAP device (nic.h): the destination's command line names @fd_number. */
struct nic_queue {
        int source_fd;    /* the source's number of it */
        int fd_number;    /* the destination's: of a scratch device at first, */
        int true_number;  /* … and of the queue itself until then */
        int vhost_number; /* of its vhost-net device; -1: it has none */
};

#define NIC_QUEUES_MAX 32
#define FDSETS_MAX 32 /* fds in all sets */

/* What the destination is to get. */
struct cmdline_plan {
        const char *id; /* of the handoff: what belongs to it alone is named PATH.cprd-ID */
        const char *binary;
        const char *machine;   /* the versioned machine type that the source really runs */
        int device_fd;         /* the destination's number of the vhost-vsock device */
        const char *main_path; /* where it binds its main migration channel */
        const char *cpr_path;  /* …and its CPR channel: QEMU 10.0 takes no fd for it */
        int first_listener_fd; /* its numbers of the listeners, from here on */
        int first_memory_fd;   /* …and of files of guest memory */
        int first_queue_fd; /* …and, NIC_QUEUES_MAX each, of queues, true queues, and vhost-net devices */
        bool keep_discard;  /* discard-data=on stays: what is lost by that, tests show */
        /* The path that fd @fd of the source is bound to; *ret is the caller's to free. */
        int (*socket_path)(void *userdata, int fd, char **ret);
        /* Whether the source has the file at @path, as it sees that path, mapped. NULL: nobody can tell. */
        bool (*maps_file)(void *userdata, const char *path);
        /* The source's number of the fd of the file that it has mapped for its memory backend @id, of which
         * its command line says @path; ENOENT. NULL: nobody can tell. */
        int (*find_memory)(void *userdata, const char *path, const char *id);
        /* The source's fds of the TAP interface @ifname, ascending; NULL: of all of them. Returns how many.
         */
        size_t (*find_taps)(void *userdata, const char *ifname, int fds[static NIC_QUEUES_MAX]);
        void *userdata;
};

/* What was found out about the source on the way. */
struct cmdline_facts {
        size_t n_vsock;   /* vhost-vsock devices named */
        int vhostfd;      /* vhostfd= of the last one; -1: none given, QEMU opened the device itself */
        uint64_t cid;     /* guest-cid= of the last one; 0: none */
        size_t n_devices; /* -device options without an id */
        json_object *ids; /* owned: set of the ids of the -device options that have one */
        char *cpu;        /* owned: the CPU model named, or NULL */
        struct vm_socket listeners[LISTENERS_MAX];
        size_t n_listeners;
        struct memory_file memory[MEMORY_FILES_MAX];
        size_t n_memory;
        struct nic_queue queues[NIC_QUEUES_MAX];
        size_t n_queues;
        int fdset_fds[FDSETS_MAX]; /* fdset.c: the source's numbers of the fds in its sets */
        size_t n_fdset;
        char *pidfile; /* owned: where clients find it; NULL: none */
};

void cmdline_done(struct cmdline *c);
void cmdline_facts_done(struct cmdline_facts *facts);

/* From /proc/PID/cmdline: NUL-terminated words. EBADMSG: empty, or not terminated. */
int cmdline_parse(const char *data, size_t size, struct cmdline *ret, struct failure *f);
/* Adds a word, which is copied. */
void cmdline_add(struct cmdline *c, const char *word);
