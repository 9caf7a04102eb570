/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flood.h"

#include "unit.h"

#include <sys/sysinfo.h>

#define TIMEOUT_USEC 50000
#define PORT_CLOSED  9 /* of the guest: what is left of the requests there shall not keep it busy */

static long free_memory(void)
{
        struct sysinfo info;

        return sysinfo(&info) < 0 ? -errno : (long)((info.freeram + info.bufferram) * info.mem_unit);
}

uint64_t flood_credit(long calls)
{
        return 100000 + (uint64_t)calls % 100000;
}

static int set_credit(int fd, uint64_t size)
{
        return setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof(size)) < 0 ? -errno : 0;
}

/* A socket lives on until its connect() would have timed out. */
static int connect_once(uint32_t cid)
{
        _cleanup_close_ int fd = host_socket(SOCK_STREAM | SOCK_NONBLOCK);
        int r = host_connect_timeout(fd, TIMEOUT_USEC);

        if (r >= 0)
                r = host_connect(fd, cid, PORT_CLOSED);

        return r == -EINPROGRESS ? 0 : r;
}

static int call(enum flood_kind kind, int fd, uint32_t cid, long i)
{
        switch (kind) {
        case FLOOD_CREDIT:
                return set_credit(fd, flood_credit(i));
        case FLOOD_SHUTDOWN:
                return shutdown(fd, SHUT_RD) < 0 ? -errno : 0;
        case FLOOD_CONNECT:
                return connect_once(cid);
        default:
                return -EINVAL;
        }
}

long flood(enum flood_kind kind, int fd, uint32_t cid, long calls)
{
        long before = free_memory();

        for (long i = 1; i <= calls; i++) {
                int r = call(kind, fd, cid, i);

                if (r < 0)
                        return r;
        }
        test_sleep(4ULL * TIMEOUT_USEC);
        return before - free_memory();
}

/* flood [CALLS] */
int flood_main(int argc, char **argv)
{
        static const char *const names[] = {"credit updates", "shutdowns", "connects"};
        long calls = argc > 0 ? strtol(argv[0], NULL, 10) : 1000000;

        for (int kind = 0; kind < FLOOD_KINDS; kind++) {
                _cleanup_(vmm_freep) struct vmm *vmm = NULL;
                _cleanup_close_ int fd = -EBADF;
                uint64_t start = test_now();
                struct host_stream s;
                long grown;

                if (test_guest(2000 + (uint32_t)kind, &vmm) ||
                    unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                        return 1;
                EXPECT_OK(vmm_give(vmm));
                calls /= kind == FLOOD_CONNECT ? 10 : 1; /* it costs as much more time */
                grown = flood(kind, fd, vmm_cid(vmm), calls);
                if (grown < 0 && grown > -4096)
                        FAIL("%s: %s", names[kind], strerror((int)-grown));
                printf("%ld %s: %ld KiB more in use, %llu s\n", calls, names[kind], grown / 1024,
                       (unsigned long long)((test_now() - start) / USEC_PER_SEC));
                EXPECT(grown < FLOOD_BOUND);
        }
        return 0;
}
