/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>

int main(void)
{
        return EXIT_FAILURE;
}
