/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the fuzz targets share: an input as a socket, as a file, as a directory that looks like /proc/PID. */

#include "proto/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must be true whatever comes in; a violation is a finding like a crash. */
#define FUZZ_EXPECT(condition)                                                                               \
        do {                                                                                                 \
                if (!(condition)) {                                                                          \
                        fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);            \
                        abort();                                                                             \
                }                                                                                            \
        } while (0)

/* One end of a connected pair of sockets of @type, not blocking; the other is in *ret_peer. */
int fuzz_socket(int type, int *ret_peer);
/* Writes as much as the socket takes. */
void fuzz_send(int fd, const void *data, size_t size);
/* A file in memory that holds @data; the caller's to close. */
int fuzz_memory_file(const void *data, size_t size);
/* A directory on a file system in memory, the same for the whole run. Ends the run if it cannot be made. */
const char *fuzz_directory(void);
/* Writes @name in it. */
void fuzz_file(const char *name, const void *data, size_t size);
/* The input as a string; the caller's to free. */
char *fuzz_text(const uint8_t *data, size_t size);
/* Output is of no interest. */
void fuzz_be_quiet(void);
