/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *path = text_print("%s/cprd.conf", fuzz_directory());
        struct config config = {};
        struct failure f = {};

        fuzz_file("cprd.conf", data, size);
        if (config_load(&config, path, &f) < 0) {
                FUZZ_EXPECT(f.error && f.what[0]);
                return 0;
        }
        FUZZ_EXPECT(config.max_pause > 0 && config.handoffs > 0);
        config_done(&config);
        return 0;
}
