/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the subcommands of vhost-vsock-test share. */

#include "../../proto/base.h"
#include "host.h"
#include "vmm.h"

/* Every subcommand: arguments without its own name; an exit code. */
int unit_main(int argc, char **argv);
int stress_main(int argc, char **argv);
int latency_main(int argc, char **argv);
int orphan_main(int argc, char **argv);
int flood_main(int argc, char **argv);

/* A test case fails by saying why on stderr and returning non-zero from its function. */
int test_failed(const char *file, int line, const char *what, ...) _printf_(3, 4);

#define FAIL(...) return test_failed(__FILE__, __LINE__, __VA_ARGS__)
#define EXPECT(condition)                                                                                    \
        do {                                                                                                 \
                if (!(condition))                                                                            \
                        FAIL("not true: %s", #condition);                                                    \
        } while (0)
/* For functions that return a negative errno. */
#define EXPECT_RESULT(expression, wanted)                                                                    \
        do {                                                                                                 \
                long _got = (expression), _wanted = (wanted);                                                \
                if (_got != _wanted)                                                                         \
                        FAIL("%s gave %ld (%s), not %ld (%s)", #expression, _got,                            \
                             _got < 0 ? strerrorname_np(-_got) : "no error", _wanted,                        \
                             _wanted < 0 ? strerrorname_np(-_wanted) : "no error");                          \
        } while (0)
#define EXPECT_OK(expression) EXPECT_RESULT(expression, 0)
/* Lets the guest run until @condition holds, for at most SOON_USEC. */
#define SOON_USEC (3 * USEC_PER_SEC)
#define EXPECT_SOON(vmm, condition)                                                                          \
        do {                                                                                                 \
                uint64_t _end = test_now() + SOON_USEC;                                                      \
                while (!(condition)) {                                                                       \
                        if (test_now() > _end)                                                               \
                                FAIL("not within %llu s: %s", SOON_USEC / USEC_PER_SEC, #condition);         \
                        vmm_pump_wait(vmm, 2);                                                               \
                }                                                                                            \
        } while (0)
#define EXPECT_NO_COMPLAINT(vmm)                                                                             \
        do {                                                                                                 \
                if (vmm_complaint(vmm))                                                                      \
                        FAIL("the guest complains: %s", vmm_complaint(vmm));                                 \
        } while (0)

uint64_t test_now(void); /* CLOCK_MONOTONIC, µs */
void test_sleep(uint64_t usec);
/* A new, running guest. */
int test_guest(uint32_t cid, struct vmm **ret_vmm);
/* The bare ioctls, for processes that are not the VMM. */
int test_reset_owner(int device_fd);
int test_set_owner(int device_fd);
/* True if the running kernel refuses sends to a device without backend (7.2 and newer). */
bool test_kernel_fails_fast(void);
