// SPDX-License-Identifier: LGPL-2.1-or-later
/* The guest's virtio NIC: eth0, with an address of its own and no route but the one to its network. */
#define _GNU_SOURCE

#include "guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME "eth0"

static void set_address(struct ifreq *request, in_addr_t address)
{
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};

        *request = (struct ifreq){.ifr_name = NAME};
        memcpy(&request->ifr_addr, &in, sizeof(in));
}

/* Returns 0 or negative errno. */
static int configure(int socket, const char *address)
{
        unsigned a, b, c, d, bits;
        struct ifreq request;

        if (sscanf(address, "%u.%u.%u.%u/%u", &a, &b, &c, &d, &bits) != 5 || bits < 1 || bits > 31)
                return -EINVAL;
        set_address(&request, htonl(a << 24 | b << 16 | c << 8 | d));
        if (ioctl(socket, SIOCSIFADDR, &request) < 0)
                return -errno;
        set_address(&request, htonl(~0U << (32 - bits)));
        if (ioctl(socket, SIOCSIFNETMASK, &request) < 0)
                return -errno;
        request = (struct ifreq){.ifr_name = NAME, .ifr_flags = IFF_UP | IFF_RUNNING};
        return ioctl(socket, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/* By itself the driver uses no more than there are CPUs. */
static int set_queues(int socket, int queues)
{
        struct ethtool_channels channels = {.cmd = ETHTOOL_SCHANNELS, .combined_count = (unsigned)queues};
        struct ifreq request = {.ifr_name = NAME, .ifr_data = (void *)&channels};

        return queues && ioctl(socket, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

bool set_up_nic(const char *address, int queues)
{
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = fd < 0 ? -errno : 0;

        load_module("failover");
        load_module("net_failover");
        load_module("virtio_net");
        if (r == 0)
                r = configure(fd, address);
        if (r == 0)
                r = set_queues(fd, queues);
        if (r < 0)
                say("cannot set up " NAME ": %s", strerror(-r));
        if (fd >= 0)
                close(fd);
        return r == 0;
}
