#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 150
"""A guest that writes checksummed blocks to its disks all the time, and reads them again, loses none over handoffs and
rollbacks: a disk for each cache mode, with its image locked, raw and qcow2, with an iothread and without.

  blocks.py [HOW OFTEN]
"""

import json
import sys
import time
from pathlib import Path

import images
import traffic
from faults import FLOW_SECONDS, check_end, handoff_with
from lab import VM, Traffic, end, expect, expect_equal, pause_of, test

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
DIRECTORY = Path("/run/lab/images")
SIZE = 4 << 20
QEMU = "11.1.3"
# (what -drive calls it, what it means, format, more of its device); the guest calls them vda, vdb, …
DISKS = [
    ("writeback", {}, "raw", ""),
    ("none", {"direct": True}, "qcow2", ""),
    ("writethrough", {}, "raw", ",write-cache=off"),
    ("directsync", {"direct": True}, "raw", ",write-cache=off,iothread=io0"),
    ("unsafe", {"no-flush": True}, "qcow2", ",iothread=io0"),
]
# What fails where: the guest is in neither QEMU then, or its disks have been another one's.
ROLLBACKS = ["match:after=fail", "load:after=fail", "load:after=exit-destination", "claim:after=kill-destination",
             "verify:after=kill-helper", "commit:before=fail"]


def path_of(cache, format):
    return DIRECTORY / f"{cache}.{format}"


def disks():
    words = ["-object", "iothread,id=io0"]
    for number, (cache, mode, format, more) in enumerate(DISKS):
        path = images.make(path_of(cache, format), format, SIZE)
        mode = {"direct": False, "no-flush": False} | mode
        file = {"driver": "file", "node-name": f"f-{cache}", "filename": str(path), "cache": mode, "locking": "on"}
        node = {"driver": format, "node-name": cache, "file": file["node-name"], "cache": mode}
        words += ["-blockdev", json.dumps(file), "-blockdev", json.dumps(node),
                  "-device", f"virtio-blk-pci,id=disk{number},drive={cache},bus=pcie.0{more}"]
    return words


class Writers(Traffic):
    """One for each disk of a VM."""

    def __init__(self, vm, n):
        self.clients = [traffic.Blocks(vm.cid, letter=chr(ord("a") + i)).start() for i in range(n)]
        self.reports = []


def handoff(vm, writers, load):
    record = vm.handoff(QEMU).updated()
    writers.check(FLOW_SECONDS)
    load.check(FLOW_SECONDS)
    return pause_of(record)


def rollback(vm, writers, load, fault):
    record, seconds = handoff_with(vm, fault)
    check_end(vm, record, "still_on_source", "alive")
    writers.check(FLOW_SECONDS)
    load.check(FLOW_SECONDS)
    return f"{seconds:.1f} s"


with VM("10.0.2", *disks(), spy=True) as vm, vm.traffic("echo") as load:
    writers = Writers(vm, len(DISKS))
    for number in range(ROUNDS):
        for fault in ROLLBACKS:
            with test(f"back: {fault}, round {number + 1}") as t:
                t.measured(rollback(vm, writers, load, fault))
        with test(f"handoff, round {number + 1}") as t:
            t.measured(handoff(vm, writers, load))
    with test("no block lost, as the guest reads them") as t:
        writers.finish()
        load.finish()
        expect_equal(vm.resets(), [], "what the guest has lost")
        t.measured(f"{sum(c.written for c in writers.clients)} blocks")
    vm.stop()
    for (cache, _, format, _), client in zip(DISKS, writers.clients):
        with test(f"no block lost in the image: {cache}, {format}") as t:
            path = path_of(cache, format)
            expect(client.written > 0, "nothing was written")
            expect_equal(client.lost_blocks(lambda offset, size: images.read(path, offset, size)), [], "slots lost")
            t.measured(f"{client.written} blocks")

with VM("10.0.2", *disks(), spy=True) as vm, vm.traffic("echo") as load, \
        test("the control: without the comparison, after a snapshot, blocks are lost, and the guest sees it") as t:
    writers = Writers(vm, 1)
    writers.check(FLOW_SECONDS)
    with vm.spy() as spy:
        overlay = images.make(DIRECTORY / "overlay.qcow2", "qcow2", SIZE)
        overlay.unlink()
        spy.command("blockdev-snapshot-sync", node_name="writeback", snapshot_file=str(overlay),
                    snapshot_node_name="overlay", format="qcow2")
    writers.check(FLOW_SECONDS)
    time.sleep(1)
    vm.handoff(QEMU, "--fault", "no-match").updated()
    client, = writers.clients
    client.thread.join(FLOW_SECONDS)
    expect(client.errors, "no block is lost")
    t.measured(client.errors[0])
end()
