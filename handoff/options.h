/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The options of qemu-system-x86_64 10.0 to 11.1, by name: in a command line, only the name says whether the
 * next word is a value or an option. tests/scenarios/options.py compares this with the tables in the
 * binaries.
 */

enum option_kind {
        OPTION_UNKNOWN, /* whether a value follows is unknown */
        OPTION_ALONE,
        OPTION_WITH_VALUE,
};

/* @option has one dash: "-machine". */
enum option_kind option_kind(const char *option);
