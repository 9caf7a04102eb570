/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reclaim: any holder may release the device of a dead owner, of a living one nobody. Contract 7. */

#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "orphan.h"

static int reclaimed(uint32_t cid, enum orphan_way way)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;
        pid_t pid;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(orphan_make(vmm, way, 5000, -EBADF, &pid));
        EXPECT(host_send(&s, 5000) == 5000);   /* the host does not notice */
        EXPECT_RESULT(vmm_claim(vmm), -EBUSY); /* release first */
        EXPECT_OK(vmm_release(vmm));
        EXPECT_RESULT(vmm_release(vmm), -EPERM);
        EXPECT_OK(vmm_take(vmm));
        if (way == ORPHAN_ZOMBIE || way == ORPHAN_EXEC)
                orphan_reap(pid);
        return unit_echo(vmm, &s, 5000);
}

static int reclaim_after_exit(uint32_t cid)
{
        return reclaimed(cid, ORPHAN_EXIT);
}

static int reclaim_after_kill(uint32_t cid)
{
        return reclaimed(cid, ORPHAN_KILLED);
}

static int reclaim_of_zombie(uint32_t cid)
{
        return reclaimed(cid, ORPHAN_ZOMBIE);
}

static int reclaim_after_exec(uint32_t cid)
{
        return reclaimed(cid, ORPHAN_EXEC);
}

/* A dead owner that never started the device, and one that stopped it. */
static int claim_and_exit(struct vmm *vmm)
{
        EXPECT_OK(vmm_claim(vmm));
        return 0;
}

static int stop_and_exit(struct vmm *vmm)
{
        EXPECT_OK(vmm_take(vmm));
        EXPECT_OK(vmm_stop(vmm));
        return 0;
}

static int reclaim_when_not_running(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        EXPECT(unit_in_child(claim_and_exit, vmm) == 0);
        EXPECT_OK(vmm_release(vmm));
        EXPECT(unit_in_child(stop_and_exit, vmm) == 0);
        EXPECT_OK(vmm_release(vmm));
        EXPECT_OK(vmm_take(vmm));
        return unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s) || unit_echo(vmm, &s, 1000);
}

/* The dead owner's memory map must not stay pinned until the last close. A memfd cannot be sealed against
 * writing while any map has it writable, so the seal tells whether the map is gone. */
static int memory_is_unpinned(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int mapped = memfd_create("mapped-by-the-owner", MFD_ALLOW_SEALING);
        pid_t pid;

        EXPECT(mapped >= 0);
        EXPECT_OK(ftruncate(mapped, 4096));
        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        EXPECT_OK(orphan_make(vmm, ORPHAN_EXIT, 0, mapped, &pid));
        EXPECT(fcntl(mapped, F_ADD_SEALS, F_SEAL_WRITE) < 0 && errno == EBUSY);
        EXPECT_OK(vmm_release(vmm));
        EXPECT_SOON(vmm, fcntl(mapped, F_ADD_SEALS, F_SEAL_WRITE) == 0);
        return 0;
}

/* Several holders find the owner dead at once: one of them has released the device, the others are told
 * EPERM. */
static int release_at(struct vmm *vmm, uint64_t when)
{
        int r;

        while (test_now() < when)
                ;
        r = vmm_release(vmm);
        return r == 0 ? 10 : r == -EPERM ? 0 : 1;
}

static int one_reclaimer_wins(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        uint64_t when;
        int status;
        pid_t pid;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        for (int i = 0; i < 10; i++) {
                int winners = 0;

                EXPECT_OK(orphan_make(vmm, ORPHAN_KILLED, 1000, -EBADF, &pid));
                when = test_now() + 20000;
                for (int n = 0; n < 4; n++)
                        if (fork() == 0)
                                _exit(release_at(vmm, when));
                while (wait(&status) > 0) {
                        EXPECT(WIFEXITED(status) && WEXITSTATUS(status) != 1);
                        winners += WEXITSTATUS(status) == 10;
                }
                EXPECT(winners == 1);
        }
        EXPECT_OK(vmm_take(vmm));
        return 0;
}

struct survivor {
        struct vmm *vmm;
        int ready;
        int go;
};

static void *survive(void *userdata)
{
        struct survivor *s = userdata;
        eventfd_t value;

        test_sleep(20000); /* the leader has exited by then */
        (void)eventfd_write(s->ready, 1);
        (void)eventfd_read(s->go, &value);
        _exit(0);
}

/* Its first thread is gone, another lives: so does the owner. */
static void own_without_leader(struct survivor *s)
{
        pthread_t thread;

        if (vmm_take(s->vmm) < 0 || pthread_create(&thread, NULL, survive, s) != 0)
                _exit(1);
        syscall(SYS_exit, 0); /* this thread only */
}

static int owner_without_leader_lives(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        struct survivor s = {.ready = eventfd(0, 0), .go = eventfd(0, 0)};
        eventfd_t value;
        pid_t pid;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        s.vmm = vmm;
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0)
                own_without_leader(&s);
        EXPECT_OK(eventfd_read(s.ready, &value));
        EXPECT_RESULT(vmm_release(vmm), -EPERM);
        EXPECT_OK(eventfd_write(s.go, 1));
        EXPECT(waitpid(pid, NULL, 0) == pid);
        EXPECT_OK(vmm_release(vmm));
        return 0;
}

/* A child of a dead owner has a copy of its memory map and the fd, and still the owner is dead. */
static int own_and_leave_child(struct vmm *vmm)
{
        EXPECT_OK(vmm_take(vmm));
        if (fork() == 0)
                test_sleep(USEC_PER_SEC);
        return 0;
}

static int children_do_not_count(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        EXPECT(unit_in_child(own_and_leave_child, vmm) == 0);
        EXPECT_OK(vmm_release(vmm));
        EXPECT_OK(vmm_take(vmm));
        return 0;
}

const struct unit_case unit_orphan[] = {
        {"reclaim_after_exit", 7, reclaim_after_exit},
        {"reclaim_after_kill", 7, reclaim_after_kill},
        {"reclaim_of_zombie", 7, reclaim_of_zombie},
        {"reclaim_after_exec", 7, reclaim_after_exec},
        {"reclaim_when_not_running", 7, reclaim_when_not_running},
        {"one_reclaimer_wins", 7, one_reclaimer_wins},
        {"memory_is_unpinned", 7, memory_is_unpinned},
        {"owner_without_leader_lives", 7, owner_without_leader_lives},
        {"children_do_not_count", 7, children_do_not_count},
        {},
};
