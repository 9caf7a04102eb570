/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who may release, what a release leaves, and that the CID stays. Contract 1, 2, 8, 11. */

#include "unit.h"

#include <linux/vhost.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

static int never_owned(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;

        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &vmm));
        EXPECT_RESULT(vmm_release(vmm), -EPERM);
        EXPECT_OK(vmm_take(vmm)); /* nothing has changed: it can be owned */
        return 0;
}

static int released_twice(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        struct host_stream s;
        _cleanup_close_ int fd = -EBADF;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_RESULT(vmm_release(vmm), -EPERM);
        EXPECT_OK(vmm_take(vmm));
        return unit_echo(vmm, &s, 10000);
}

static int try_to_rob(struct vmm *vmm)
{
        EXPECT_RESULT(test_reset_owner(vmm_device_fd(vmm)), -EPERM);
        EXPECT_RESULT(test_set_owner(vmm_device_fd(vmm)), -EBUSY);
        EXPECT_RESULT(vmm_stop(vmm), -EPERM);
        return 0;
}

static int living_owner_keeps_it(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        struct host_stream s;
        _cleanup_close_ int fd = -EBADF;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT(unit_in_child(try_to_rob, vmm) == 0);
        if (unit_echo(vmm, &s, 10000))
                return 1;
        EXPECT_OK(vmm_stop(vmm)); /* nor when it is stopped */
        EXPECT(unit_in_child(try_to_rob, vmm) == 0);
        EXPECT_OK(vmm_start(vmm));
        return unit_echo(vmm, &s, 10000);
}

static int works_while_running(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        struct host_stream s;
        _cleanup_close_ int fd = -EBADF;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        for (int i = 0; i < 20; i++) {
                EXPECT(host_send(&s, 1000) == 1000);
                EXPECT_OK(vmm_release(vmm)); /* no SET_RUNNING 0 before */
                EXPECT_OK(vmm_take(vmm));
        }
        return unit_echo(vmm, &s, 1000);
}

/* Everything the owner set up must be gone: the next owner starts from what open() gives. */
static int nothing_is_left(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        struct vhost_vring_state base = {.index = VMM_TX};
        struct host_stream s;
        _cleanup_close_ int fd = -EBADF;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s) ||
            unit_echo(vmm, &s, 10000))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_RESULT(vmm_start(vmm), -EPERM);
        EXPECT(ioctl(vmm_device_fd(vmm), VHOST_GET_VRING_BASE, &base) < 0 && errno == EPERM);
        EXPECT_OK(vmm_claim(vmm));
        EXPECT(ioctl(vmm_device_fd(vmm), VHOST_GET_VRING_BASE, &base) == 0);
        EXPECT(base.num == 0);
        EXPECT(vmm_start(vmm) == -EFAULT); /* no rings */
        EXPECT_OK(vmm_configure(vmm));
        EXPECT_OK(vmm_start(vmm));
        return unit_echo(vmm, &s, 10000);
}

/* The kick eventfd of the old owner no longer reaches the device, its call eventfd is no longer signalled. */
static int eventfds_are_gone(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF, old_kick = -EBADF, old_call = -EBADF;
        struct host_stream s;
        eventfd_t value;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        old_kick = dup(vmm_kick_fd(vmm, VMM_TX));
        old_call = dup(vmm_call_fd(vmm, VMM_RX));
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(eventfd_write(old_kick, 1));
        EXPECT_OK(vmm_take(vmm));
        (void)eventfd_read(old_call, &value);
        EXPECT_OK(eventfd_write(old_kick, 1));
        if (unit_echo(vmm, &s, 10000))
                return 1;
        EXPECT(eventfd_read(old_call, &value) < 0 && errno == EAGAIN);
        return 0;
}

static int cid_stays_taken(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL, *thief = NULL;

        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_new(&(struct vmm_config){.cid = cid}, -EBADF, &thief));
        EXPECT_RESULT(vmm_set_cid(thief, cid), -EADDRINUSE);
        EXPECT_OK(vmm_give(vmm));
        EXPECT_RESULT(vmm_set_cid(thief, cid), -EADDRINUSE);
        EXPECT_OK(vmm_claim(vmm));
        EXPECT_RESULT(vmm_set_cid(thief, cid), -EADDRINUSE);
        EXPECT_OK(vmm_configure(vmm)); /* with the same CID, by its holder */
        EXPECT_OK(vmm_start(vmm));
        EXPECT_RESULT(vmm_set_cid(thief, cid), -EADDRINUSE);
        vmm_free(TAKE_PTR(vmm));
        EXPECT_OK(vmm_set_cid(thief, cid)); /* the last close gives it back */
        return 0;
}

/* Sends until told to stop; every send must find the device. */
static int send_without_end(struct host_stream *s, int stop)
{
        eventfd_t value;

        while (eventfd_read(stop, &value) < 0) {
                ssize_t n = host_send(s, 1);

                if (n < 0 && n != -EAGAIN)
                        FAIL("send: %s", strerror(-n));
                test_sleep(100);
        }
        return 0;
}

/* What the new owner does at each hand-over: no sender may look for the CID just when it is not there. */
static int cid_is_set_again(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF, stop = eventfd(0, EFD_NONBLOCK);
        struct host_stream s;
        int status;
        pid_t pid;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_SINK, &fd, &s))
                return 1;
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0)
                _exit(send_without_end(&s, stop));
        for (int i = 0; i < 50; i++) {
                EXPECT_OK(vmm_set_cid(vmm, cid));
                vmm_pump_wait(vmm, 1);
        }
        EXPECT_OK(eventfd_write(stop, 1));
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
        EXPECT_NO_COMPLAINT(vmm);
        return 0;
}

static int no_connection_is_reset(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;
        struct pollfd p;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        p = (struct pollfd){.fd = fd, .events = POLLIN | POLLRDHUP};
        EXPECT(poll(&p, 1, 50) == 0);
        EXPECT_OK(host_error(fd));
        EXPECT_OK(vmm_take(vmm));
        EXPECT(poll(&p, 1, 20) == 0);
        return unit_echo(vmm, &s, 10000);
}

static int listener_stays_reachable(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int listener = host_listen(SOCK_STREAM | SOCK_NONBLOCK, cid), fd = -EBADF;
        struct host_stream s;

        EXPECT(listener >= 0);
        if (test_guest(cid, &vmm))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(vmm_take(vmm));
        EXPECT_OK(vmm_guest_connect(vmm, VIRTIO_VSOCK_TYPE_STREAM, 5000, cid, 5000));
        EXPECT_SOON(vmm, (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
        EXPECT_OK(host_stream_init(fd, &s));
        EXPECT_SOON(vmm, host_receive(&s, 5000) == 0); /* up to the end */
        EXPECT(s.received == 5000);
        return 0;
}

static int closing_a_released_device(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL, *next = NULL;
        _cleanup_close_ int fd = -EBADF;
        struct host_stream s;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT(host_send(&s, 5000) == 5000);
        vmm_free(TAKE_PTR(vmm)); /* with packets still queued on it */
        EXPECT_OK(host_error(fd) == -ECONNRESET ? 0 : -1);
        EXPECT_OK(test_guest(cid, &next));
        close_fd(TAKE_FD(fd));
        return unit_connect(next, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s) || unit_echo(next, &s, 1000);
}

/* Threads of one owner racing: whatever each ioctl returns, the device is intact afterwards. */
static void *disturb(void *userdata)
{
        struct vmm *vmm = userdata;

        for (unsigned i = 0; i < 2000; i++) {
                switch (i % 7) {
                case 0:
                case 4:
                        (void)vmm_release(vmm);
                        break;
                case 2:
                        (void)vmm_set_cid(vmm, vmm_cid(vmm));
                        break;
                default:
                        (void)vmm_start(vmm);
                }
                if (i % 50 == 0)
                        test_sleep(1000);
        }
        return NULL;
}

static int racing_threads(uint32_t cid)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF;
        pthread_t threads[2];
        struct host_stream s;

        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s))
                return 1;
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                EXPECT_OK(pthread_create(&threads[i], NULL, disturb, vmm));
        for (int i = 0; i < 200; i++) {
                (void)host_send(&s, 10);
                (void)vmm_take(vmm);
                vmm_pump(vmm);
        }
        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                EXPECT_OK(pthread_join(threads[i], NULL));
        (void)vmm_release(vmm);
        EXPECT_OK(vmm_take(vmm));
        return unit_echo(vmm, &s, 1000);
}

/* The other process of a hand-over: takes what comes over fd @channel, echoes until told, and hands it back.
 */
static int take_and_return(int channel, int go)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        eventfd_t value;

        EXPECT_OK(vmm_receive(channel, &vmm));
        EXPECT_OK(vmm_take(vmm));
        while (eventfd_read(go, &value) < 0)
                vmm_pump_wait(vmm, 1);
        EXPECT_OK(vmm_give(vmm));
        return vmm_send(vmm, channel) < 0;
}

static int wait_for_echo(struct host_stream *s, uint64_t bytes)
{
        uint64_t goal = s->received + bytes, end = test_now() + SOON_USEC;

        while (s->received < goal) {
                ssize_t n = host_receive(s, goal - s->received);

                if (n < 0 && n != -EAGAIN)
                        FAIL("recv: %s", strerror(-n));
                if (test_now() > end)
                        FAIL("nothing comes back");
                test_sleep(100);
        }
        return 0;
}

static int hand_to_other_process(uint32_t cid, int namespaces)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        _cleanup_close_ int fd = -EBADF, go = eventfd(0, EFD_NONBLOCK);
        struct host_stream s;
        int channel[2], status;
        pid_t pid;

        EXPECT_OK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, channel));
        pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0)
                _exit(unshare(namespaces) < 0 || take_and_return(channel[1], go));
        if (test_guest(cid, &vmm) || unit_connect(vmm, SOCK_STREAM, VMM_PORT_ECHO, &fd, &s) ||
            unit_echo(vmm, &s, 10000))
                return 1;
        EXPECT_OK(vmm_give(vmm));
        EXPECT_OK(vmm_send(vmm, channel[0]));
        vmm_free(TAKE_PTR(vmm));
        EXPECT(host_send(&s, 10000) == 10000);
        if (wait_for_echo(&s, 10000))
                return 1;
        EXPECT_OK(eventfd_write(go, 1));
        EXPECT_OK(vmm_receive(channel[0], &vmm));
        EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
        EXPECT_OK(vmm_take(vmm));
        return unit_echo(vmm, &s, 10000);
}

static int between_processes(uint32_t cid)
{
        return hand_to_other_process(cid, 0);
}

/* A device belongs to the network namespace of whoever opened it, not of who owns it. */
static int between_namespaces(uint32_t cid)
{
        return hand_to_other_process(cid, CLONE_NEWNET);
}

const struct unit_case unit_ownership[] = {
        {"nothing_is_left", 1, nothing_is_left},
        {"eventfds_are_gone", 1, eventfds_are_gone},
        {"cid_stays_taken", 2, cid_stays_taken},
        {"no_connection_is_reset", 2, no_connection_is_reset},
        {"listener_stays_reachable", 2, listener_stays_reachable},
        {"closing_a_released_device", 4, closing_a_released_device},
        {"racing_threads", 4, racing_threads},
        {"living_owner_keeps_it", 7, living_owner_keeps_it},
        {"never_owned", 8, never_owned},
        {"released_twice", 8, released_twice},
        {"works_while_running", 8, works_while_running},
        {"between_processes", 11, between_processes},
        {"between_namespaces", 11, between_namespaces},
        {"cid_is_set_again", 11, cid_is_set_again},
        {},
};
