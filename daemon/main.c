/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

int main(void)
{
        log_error("not built yet");
        return EXIT_FAILURE;
}
