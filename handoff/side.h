/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The two QEMUs of a handoff, as source.c, destination.c and the tricks played on them see them. */

#include "common/process.h"
#include "handoff/channels.h"
#include "handoff/cmdline.h"
#include "handoff/inject.h"
#include "handoff/obituary.h"
#include "handoff/qmp.h"
#include "handoff/scratch.h"
#include "handoff/shield.h"
#include "handoff/withhold.h"

#include <sys/stat.h>

struct source {
        struct process process;
        char *credentials; /* owned: as it was checked (credentials.h) */
        struct qmp *qmp;
        struct tracee tracee;
        struct cmdline cmdline;
        uint64_t events;    /* of its QMP connection when `migrate` was sent, plus one; 0: not sent */
        bool stopped_early; /* by somebody else, before we hung up */
        bool frozen;        /* its main thread is stopped by us, so that nobody can continue it */
        bool is_dead;       /* it has exited */
};

/* Ours of a queue of a TAP device. */
struct nic_ends {
        int queue; /* owned: the source's, a duplicate */
        struct scratch scratch;
};

#define NIC_ENDS_NULL ((struct nic_ends){-EBADF, {.fd = -EBADF, .wire = -EBADF}})

#define TAKEOVER_QUESTIONS 2 /* takeover.c */

struct handoff;

struct destination {
        struct process process;
        struct qmp *qmp;
        struct tracee tracee;
        struct stat file; /* its binary as it was checked: this very file must be executed */
        struct cmdline cmdline;
        struct cmdline_facts cmdline_facts;
        struct channels channels;
        struct withhold withhold;
        /* Which ioctls are withheld: resources_withhold(), which trace.c cannot include. */
        bool (*withholds)(const struct handoff *h, const struct attempt *attempt);
        struct shield shield;
        struct obituary obituary;
        struct nic_ends nics[NIC_QUEUES_MAX];
        size_t n_nics;
        struct qmp_question takeover[TAKEOVER_QUESTIONS];
        bool tells_graph; /* a QEMU of its binary was asked x-debug-query-block-graph, and has survived it */
        bool has_disks;   /* block nodes, to be activated */
        bool owns;        /* the kernel said so after its claim */
        bool is_dead;     /* it has exited */
};

/* The destination's numbers of the fds that it inherits. */
enum {
        FD_DEVICE = 10,
        FD_STDERR = 11,
        FD_LISTENERS = 12,
        FD_MEMORY = FD_LISTENERS + LISTENERS_MAX,
        FD_QUEUES = FD_MEMORY + MEMORY_FILES_MAX,
        FD_AFTER_QUEUES = FD_QUEUES + 3 * NIC_QUEUES_MAX,
        FD_FDSETS = 150
};
