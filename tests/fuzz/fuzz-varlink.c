/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The codec: input arrives in pieces. What it accepts as a message goes out again and comes back the same. */
#include "fuzz.h"
#include "proto/varlink.h"

#include <sys/socket.h>

static void expect_same(json_object *message)
{
        _cleanup_(varlink_freep) struct varlink *to = NULL, *from = NULL;
        _cleanup_json_ json_object *again = NULL;
        int peer, fd = fuzz_socket(SOCK_STREAM, &peer);
        struct failure f = {};

        FUZZ_EXPECT(varlink_new(fd, &from) == 0 && varlink_new(peer, &to) == 0);
        if (varlink_queue(to, message) < 0 || varlink_flush(to) != 0)
                return;
        while (varlink_next(from, &again, &f) == 0)
                if (varlink_fill(from) <= 0)
                        return;
        /* Escapes take more room than what they stand for: the message may be too long now. */
        FUZZ_EXPECT(!again || json_object_equal(message, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        struct failure f = {};
        size_t piece = size ? 1 + data[0] : 1;
        int peer, fd = fuzz_socket(SOCK_STREAM, &peer);

        FUZZ_EXPECT(varlink_new(fd, &v) == 0);
        for (size_t at = 1; at < size; at += piece) {
                json_object *message;
                int r;

                fuzz_send(peer, data + at, size - at < piece ? size - at : piece);
                r = varlink_fill(v);
                while (r > 0 && (r = varlink_next(v, &message, &f)) > 0) {
                        FUZZ_EXPECT(json_object_is_type(message, json_type_object));
                        expect_same(message);
                        json_object_put(message);
                }
                if (r < 0 && r != -EAGAIN)
                        break;
        }
        close(peer);
        return 0;
}
