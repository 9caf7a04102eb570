#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 150
"""A NIC on a TAP device keeps its TCP connections over handoffs and rollbacks, with vhost-net and without, with one
queue and with several: every byte each way is checked, and the device stays what and where it is.

  nic.py [NICS [ROLLBACKS]]     of the lists below (1 and 2)
"""

import contextlib
import json
import subprocess
import sys
import time

import traffic
from faults import FLOW_SECONDS, check_end, handoff_with
from lab import VM, Traffic, end, expect, expect_equal, pause_of, test

QEMU = "11.1.3"
# (QEMU that it starts in, queues, vhost-net)
NICS = [("11.1.3", 4, True), ("10.0.2", 1, False), ("11.1.3", 4, False), ("10.0.2", 1, True)]
# From before the destination has the queues to after it.
ROLLBACKS = ["claim:after=fail", "load:after=exit-destination", "match:after=fail", "claim:after=kill-destination",
             "verify:after=kill-helper", "commit:before=fail"]
NUMBERS = [int(word) for word in sys.argv[1:]] + [1, 2][len(sys.argv) - 1:]


def ip(*arguments):
    return subprocess.run(["ip", *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True).stdout


class Tap:
    """A TAP device that stays, with an address for us and one for a guest."""

    numbers = iter(range(10, 250))

    def __init__(self, queues):
        number = next(self.numbers)
        self.name, self.ours, self.guests = f"tap{number}", f"10.77.{number}.1", f"10.77.{number}.2"
        ip("tuntap", "add", "dev", self.name, "mode", "tap", *(["multi_queue"] if queues > 1 else []))
        ip("address", "add", f"{self.ours}/24", "dev", self.name)
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


class Connections(Traffic):
    """Full load each way, and an echo, over TCP."""

    def __init__(self, address):
        self.clients = [kind(address).start() for kind in (traffic.Echo, traffic.Sink, traffic.Source)]
        self.reports = []


def options(tap, queues, vhost):
    return ["--tap", f"{tap.name},queues={queues}{',vhost' if vhost else ''}",
            "--append", f"lab.ip={tap.guests}/24 lab.queues={queues}"]


def still_as_it_was(tap, before, connections):
    connections.check(FLOW_SECONDS)
    expect_equal(tap.state(), before, "the TAP device")


def run(qemu, queues, vhost):
    name = f"{queues} queue{'s' if queues > 1 else ''}, vhost-net {'on' if vhost else 'off'}"
    tap = Tap(queues)
    with VM(qemu, *options(tap, queues, vhost), spy=True) as vm, vm.traffic("echo") as vsock:
        connections, before = Connections(tap.guests), tap.state()
        for fault in ROLLBACKS[:NUMBERS[1]]:
            with test(f"{name}: back, {fault}"):
                record, _ = handoff_with(vm, fault)
                check_end(vm, record, "still_on_source", "alive")
                expect_equal(record["stage"], fault.partition(":")[0], "stage that failed")
                still_as_it_was(tap, before, connections)
        for number in range(2):
            with test(f"{name}: handoff {number + 1}") as t:
                connections.reset_longest()
                record = vm.handoff(QEMU).updated()
                still_as_it_was(tap, before, connections)
                t.measured(pause_of(record), f"longest echo {connections.longest('echo') * 1000:.0f} ms")
        with test(f"{name}: every byte") as t:
            vsock.check(FLOW_SECONDS)
            connections.finish()
            expect_equal(vm.resets(), [], "what the guest has lost")
            t.measured(f"{connections.bytes() / 1e6:.0f} MB")
    tap.remove()


for nic in NICS[:NUMBERS[0]]:
    run(*nic)
end()
