/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The whole test harness: a test is a function, listed in main() by TEST(), that states what it expects with
 * the macros below. The first failed expectation ends the program with status 1, after saying where.
 */

#include "proto/base.h"

#define FAIL(...)                                                                                            \
        do {                                                                                                 \
                fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                              \
                fprintf(stderr, __VA_ARGS__);                                                                \
                fputc('\n', stderr);                                                                         \
                exit(1);                                                                                     \
        } while (0)

#define EXPECT(condition)                                                                                    \
        do {                                                                                                 \
                if (!(condition))                                                                            \
                        FAIL("not so: %s", #condition);                                                      \
        } while (0)

#define EXPECT_INT(actual, expected)                                                                         \
        do {                                                                                                 \
                long long _a = (long long)(actual), _e = (long long)(expected);                              \
                if (_a != _e)                                                                                \
                        FAIL("%s is %lld, expected %lld", #actual, _a, _e);                                  \
        } while (0)

#define EXPECT_STR(actual, expected)                                                                         \
        do {                                                                                                 \
                const char *_a = (actual), *_e = (expected);                                                 \
                if (!_a || !STREQ(_a, _e))                                                                   \
                        FAIL("%s is \"%s\", expected \"%s\"", #actual, _a ?: "(null)", _e);                  \
        } while (0)

#define TEST(function)                                                                                       \
        do {                                                                                                 \
                function();                                                                                  \
                printf("ok %s\n", #function);                                                                \
        } while (0)
