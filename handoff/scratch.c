/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/scratch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define ETHERTYPE_EXPERIMENT 0x88b5 /* IEEE 802: for local experiments */

/* The kernel would greet the neighbours of a new interface with frames of its own. */
static void keep_quiet(void)
{
        static const char *const files[] = {"/proc/sys/net/ipv6/conf/all/disable_ipv6",
                                            "/proc/sys/net/ipv6/conf/default/disable_ipv6"};

        for (size_t i = 0; i < ELEMENTSOF(files); i++) {
                _cleanup_close_ int fd = open(files[i], O_WRONLY | O_CLOEXEC);

                if (fd >= 0 && write(fd, "1", 1) < 0)
                        return; /* it has no IPv6 */
        }
}

/* Brings the interface of @request up, and gets its index. */
static int set_up(struct scratch *s, struct ifreq *request)
{
        s->wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->wire < 0)
                return -errno;
        request->ifr_flags = IFF_UP | IFF_NOARP;
        if (ioctl(s->wire, SIOCSIFFLAGS, request) < 0 || ioctl(s->wire, SIOCGIFINDEX, request) < 0)
                return -errno;
        s->ifindex = request->ifr_ifindex;
        return 0;
}

/* In the namespace that it is to be in. */
static int make(struct scratch *s, int like)
{
        struct ifreq request = {};
        short flags;

        if (ioctl(like, TUNGETIFF, &request) < 0)
                return -errno;
        flags = request.ifr_flags & (IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
        request = (struct ifreq){.ifr_name = "scratch%d", .ifr_flags = flags};
        s->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (s->fd < 0 || ioctl(s->fd, TUNSETIFF, &request) < 0)
                return -errno;
        return set_up(s, &request);
}

int scratch_make(struct scratch *ret, int like, struct failure *f)
{
        _cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
        struct scratch s = {.fd = -EBADF, .wire = -EBADF};
        int r = home < 0 || unshare(CLONE_NEWNET) < 0 ? -errno : 0;

        if (r >= 0) {
                keep_quiet();
                r = make(&s, like);
                if (setns(home, CLONE_NEWNET) < 0) /* whatever came next would happen in the wrong place */
                        abort();
        }
        if (r < 0) {
                scratch_done(&s);
                return failure_set(f, r, "cannot make a scratch TAP device: %s", strerror(-r));
        }
        *ret = s;
        return 0;
}

void scratch_done(struct scratch *s)
{
        s->fd = close_fd(s->fd);
        s->wire = close_fd(s->wire);
}

bool scratch_is_attached(const struct scratch *s)
{
        struct ifreq request = {};

        return ioctl(s->fd, TUNGETIFF, &request) == 0;
}

int scratch_feed(struct scratch *s, struct failure *f)
{
        const struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = s->ifindex, .sll_halen = 6};
        /* To and from addresses that nobody has. */
        const struct {
                struct ether_header header;
                uint8_t nothing[46];
        } frame = {.header = {.ether_dhost = {2, 0, 0, 0, 0, 1},
                              .ether_shost = {2, 0, 0, 0, 0, 2},
                              .ether_type = htons(ETHERTYPE_EXPERIMENT)}};

        if (sendto(s->wire, &frame, sizeof(frame), 0, (const struct sockaddr *)&to, sizeof(to)) < 0)
                return failure_set(f, errno, "cannot send a frame to a scratch TAP device: %s",
                                   strerror(errno));
        s->was_fed = true;
        return 0;
}

bool scratch_has_frame(const struct scratch *s)
{
        struct pollfd p = {.fd = s->fd, .events = POLLIN};

        return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}
