#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 100
"""A NIC on a TAP device keeps its TCP connections over handoffs and rollbacks, with vhost-net and without, with one
queue and with several: every byte each way is checked, and the device stays what and where it is.

  nic.py [NICS [ROLLBACKS]]     of the lists below (1 and 2)
"""

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time

import traffic
from faults import FLOW_SECONDS, check_end, handoff_with
from lab import VM, Traffic, end, expect, expect_equal, pause_of, test

QEMU = "11.1.3"
# (QEMU that it starts in, queues, vhost-net, opened by QEMU itself or passed open)
NICS = [("10.0.2", 1, False, True), ("11.1.3", 4, True, False), ("11.1.3", 4, False, True), ("10.0.2", 1, True, False)]
# From before the destination has the queues to after it.
ROLLBACKS = ["claim:after=fail", "load:after=exit-destination", "match:after=fail", "claim:after=kill-destination",
             "verify:after=kill-helper", "commit:before=fail"]
NUMBERS = [int(word) for word in sys.argv[1:]] + [1, 2][len(sys.argv) - 1:]


def ip(*arguments):
    return subprocess.run(["ip", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


class Tap:
    """A TAP device that stays, on a bridge of its own, with an address for us and one for a guest."""

    numbers = iter(range(10, 250))

    def __init__(self, queues):
        number = next(self.numbers)
        self.name, self.ours, self.guests = f"tap{number}", f"10.77.{number}.1", f"10.77.{number}.2"
        ip("tuntap", "add", "dev", self.name, "mode", "tap", *(["multi_queue"] if queues > 1 else []))
        self.bridge = f"br{number}"
        ip("link", "add", self.bridge, "type", "bridge")
        ip("address", "add", f"{self.ours}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        ip("link", "set", self.name, "master", self.bridge)
        ip("link", "set", self.name, "up")

    def state(self):
        """What must stay as it is, whoever has the queues."""
        link, = json.loads(ip("-details", "-json", "link", "show", self.name))
        return {"flags": sorted(link["flags"]), "operstate": link["operstate"], "index": link["ifindex"],
                "master": link.get("master"), "mtu": link["mtu"], "address": link["address"],
                "tun": link["linkinfo"]["info_data"]}

    def remove(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("link", "delete", self.name)
            ip("link", "delete", self.bridge)


class Ping:
    """An ICMP echo request every 10 ms, and which of them were never answered."""

    INTERVAL = 0.01
    PATIENCE = 3

    def __init__(self, address):
        self.address, self.sent, self.answered = address, 0, set()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.send, self.receive)]
        for thread in self.threads:
            thread.start()

    def send(self):
        while not self.stopping.wait(self.INTERVAL):
            head = struct.pack("!BBHHH", 8, 0, 0, 0x6370, self.sent & 0xffff)
            total = sum(struct.unpack("!4H", head))
            total = (total >> 16) + (total & 0xffff)
            head = head[:2] + struct.pack("!H", ~total & 0xffff) + head[4:]
            with contextlib.suppress(OSError):
                self.socket.sendto(head, (self.address, 0))
                self.sent += 1

    def receive(self):
        while True:
            packet = self.socket.recv(2048)
            kind, _, _, tag, number = struct.unpack_from("!BBHHH", packet, (packet[0] & 15) * 4)
            if (kind, tag) == (0, 0x6370):
                self.answered.add(number)

    def lost(self):
        """After a while, those of all so far."""
        sent = self.sent
        end = time.monotonic() + self.PATIENCE
        while time.monotonic() < end and not self.answered.issuperset(range(sent)):
            time.sleep(0.05)
        return sorted(set(range(sent)) - self.answered)


class Connections(Traffic):
    """Over TCP."""

    def __init__(self, address, *kinds):
        self.clients = [kind(address).start() for kind in kinds]
        self.reports = []


def options(tap, queues, vhost, by_name):
    guest = ["--append", f"lab.ip={tap.guests}/24 lab.queues={queues}"]
    if not by_name:
        return [*guest, "--tap", f"{tap.name},queues={queues}{',vhost' if vhost else ''}"]
    return [*guest, "-netdev", f"tap,id=hostnet0,ifname={tap.name},script=no,downscript=no,queues={queues},"
            f"vhost={'on' if vhost else 'off'}",
            "-device", f"virtio-net-pci,id=net0,netdev=hostnet0,bus=pcie.0,mq={'on' if queues > 1 else 'off'},vectors=10"]


def still_as_it_was(tap, before, connections):
    connections.check(FLOW_SECONDS)
    expect_equal(tap.state(), before, "the TAP device")


def hand_off(vm, tap, before, connections):
    """Returns what was measured."""
    connections.check(FLOW_SECONDS)
    usual = connections.longest("echo") * 1000
    connections.reset_longest()
    record = vm.handoff(QEMU).updated()
    still_as_it_was(tap, before, connections)
    return pause_of(record), f"longest echo {connections.longest('echo') * 1000:.0f} ms (before: {usual:.0f})"


def run(qemu, queues, vhost, by_name):
    name = f"{queues} queue{'s' if queues > 1 else ''}, vhost-net {'on' if vhost else 'off'}, {'ifname=' if by_name else 'fd='}"
    tap = Tap(queues)
    with VM(qemu, *options(tap, queues, vhost, by_name), spy=True) as vm, vm.traffic("echo") as vsock:
        before = tap.state()
        with test(f"{name}: handoff with little to do") as t:
            echo, ping = Connections(tap.guests, traffic.Echo), Ping(tap.guests)
            t.measured(*hand_off(vm, tap, before, echo))
            ping.stopping.set()
            lost = ping.lost()
            t.measured(f"{len(lost)} of {ping.sent} pings lost")
            # What a stopped QEMU has taken (docs/connections.md).
            expect(len(lost) <= queues, f"{len(lost)} of {ping.sent} pings lost: {lost}")
            echo.finish()
        load = Connections(tap.guests, traffic.Echo, traffic.Sink, traffic.Source)
        for fault in ROLLBACKS[:NUMBERS[1]]:
            with test(f"{name}: back, {fault}"):
                record, _ = handoff_with(vm, fault)
                check_end(vm, record, "still_on_source", "alive")
                if fault.endswith("=fail"):
                    expect_equal(record["stage"], fault.partition(":")[0], "stage that failed")
                still_as_it_was(tap, before, load)
        with test(f"{name}: handoff at full load") as t:
            t.measured(*hand_off(vm, tap, before, load))
        with test(f"{name}: every byte") as t:
            vsock.check(FLOW_SECONDS)
            load.finish()
            expect_equal(vm.resets(), [], "what the guest has lost")
            t.measured(f"{load.bytes() / 1e6:.0f} MB")
    tap.remove()


for nic in NICS[:NUMBERS[0]]:
    run(*nic)
end()
