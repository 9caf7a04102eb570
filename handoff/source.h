/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "handoff/handoff.h"

/* Opens the source and finds out who it is: process, binary, command line. Side effect: none. */
int source_open(struct handoff *h, struct failure *f);
/* Connects to its QMP server and asks for version and machine. */
int source_connect(struct handoff *h, struct failure *f);
/* Finds its vhost-vsock device, takes custody of it (pidfd_getfd) and gives cprd its share. */
int source_take_custody(struct handoff *h, struct failure *f);

/* The same again if the connection has ended: on the way back the old one may be what failed. */
int source_reconnect(struct handoff *h, struct failure *f);
/* The source's fd of a vhost-vsock device: @preferred if that is one, else any but @except; -1: there is
 * none. Returns how many there are. */
int source_find_device(const struct source *s, int preferred, int except, int *ret_fd);

/* Keeps its main thread still, which would stop the guest as soon as the destination closes the CPR channel,
 * so that the pause does not begin before the destination is ready for the state. The guest runs meanwhile.
 * That it cannot be held is no failure: the pause is some milliseconds longer then. */
void source_hold(struct handoff *h);
void source_let_go(struct handoff *h);

/* The stages' functions; stages.c says what each is for. */
int source_identify(struct handoff *h, struct failure *f);
int source_forget(struct handoff *h, struct failure *f);
int source_begin(struct handoff *h, struct failure *f);
int source_cancel(struct handoff *h, struct failure *f);
int source_load(struct handoff *h, struct failure *f);
int source_continue(struct handoff *h, struct failure *f);
int source_retire(struct handoff *h, struct failure *f);
