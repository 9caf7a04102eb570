// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a guest does to its machine by itself. The peer sends one letter, and is not answered:
 *
 *   r   reboots
 *   o   powers off
 *   p   panics, having told a pvpanic device so
 *   w   starts a watchdog (ib700) that nobody calms again, and that fires at once
 *   2   the same, and it fires after two seconds
 */

#define _GNU_SOURCE

#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <unistd.h>

#define PVPANIC_PORT     0x505
#define PVPANIC_PANICKED 1
#define IB700_PORT       0x443 /* written to: 15 minus half of the seconds until it fires */
#define INPUTS           4
#define SETTLE_NS        (200 * 1000 * 1000)

static void write_port(unsigned char value, unsigned short port)
{
        if (ioperm(port, 1, 1) < 0)
                say("cannot use port %#x: %s", port, strerror(errno));
        else
                outb(value, port);
}

static void panic(void)
{
        int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

        write_port(PVPANIC_PANICKED, PVPANIC_PORT);
        if (fd < 0 || write(fd, "c", 1) < 0)
                say("cannot panic: %s", strerror(errno));
}

int serve_act(int fd, uint64_t *ret_bytes)
{
        char letter;

        if (receive(fd, &letter, 1) != 1)
                return 0;
        *ret_bytes = 1;
        say("acts: %c", letter);
        if (letter == 'r')
                reboot(RB_AUTOBOOT);
        if (letter == 'o')
                reboot(RB_POWER_OFF);
        if (letter == 'p')
                panic();
        if (letter == 'w')
                write_port(15, IB700_PORT);
        if (letter == '2')
                write_port(14, IB700_PORT);
        return 0;
}

static bool is_power_button(int fd)
{
        char name[64] = "";

        return ioctl(fd, EVIOCGNAME(sizeof(name) - 1), name) >= 0 && strstr(name, "Power");
}

static int open_power_button(void)
{
        for (int i = 0; i < INPUTS; i++) {
                char path[32];
                int fd;

                snprintf(path, sizeof(path), "/dev/input/event%d", i);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd >= 0 && is_power_button(fd))
                        return fd;
                if (fd >= 0)
                        close(fd);
        }
        return -ENODEV;
}

void heed_power_button(void)
{
        struct input_event event;
        int fd;

        load_module("evdev");
        load_module("button");
        pause_ns(SETTLE_NS);
        fd = open_power_button();
        if (fd < 0)
                return say("has no power button");
        say("heeds its power button");
        while (read(fd, &event, sizeof(event)) == sizeof(event))
                if (event.type == EV_KEY && event.code == KEY_POWER && event.value) {
                        say("acts: power button");
                        reboot(RB_POWER_OFF);
                }
}
