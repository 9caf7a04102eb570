/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A QEMU binary, searched for the shield's slot. */
#include "common/vmstate.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_close_ int fd = fuzz_memory_file(data, size);
        struct vmstate_slot slot = {};
        struct failure f = {};

        if (vmstate_find_slot(fd, &slot, &f) >= 0)
                FUZZ_EXPECT(slot.slot && slot.callback);
        else
                FUZZ_EXPECT(f.error && f.what[0]);
        return 0;
}
