// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a guest told to (lab.channels) does on its second serial port and on the first port of a virtio-serial
 * device: it sends back what it receives, byte for byte.
 */

#define _GNU_SOURCE

#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define RETRY_NS (200 * 1000 * 1000)

static int write_all(int fd, const char *data, ssize_t size)
{
        while (size > 0) {
                ssize_t n = write(fd, data, size);

                if (n < 0 && errno != EINTR)
                        return -errno;
                data += n > 0 ? n : 0;
                size -= n > 0 ? n : 0;
        }
        return 0;
}

/* Nothing is read of a virtio-serial port that no host is connected to: 0 bytes. */
static void echo(const char *name, int fd)
{
        char data[4096];

        for (;;) {
                ssize_t n = read(fd, data, sizeof(data));
                int r = n < 0 ? -errno : write_all(fd, data, n);

                if (n == 0)
                        pause_ns(RETRY_NS);
                if (r < 0 && r != -EINTR && r != -EAGAIN) {
                        say("channel %s: %s", name, strerror(-r));
                        return;
                }
        }
}

static void *run_channel(const char *name)
{
        struct termios settings;
        int fd;

        while ((fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
                pause_ns(RETRY_NS);
        if (tcgetattr(fd, &settings) == 0) {
                cfmakeraw(&settings);
                settings.c_cflag |= CLOCAL;
                cfsetspeed(&settings, B115200);
                tcsetattr(fd, TCSANOW, &settings);
        }
        say("channel %s open", name);
        echo(name, fd);
        return NULL;
}

void *run_serial_port(void *argument)
{
        return run_channel("/dev/ttyS1");
}

void *run_virtio_port(void *argument)
{
        return run_channel("/dev/vport0p1");
}
