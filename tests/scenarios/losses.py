#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 110
"""The controls of twin.py and refusals.py: what is lost where the destination is not compared with its source, or where
a check does not refuse. memory-files.py has the control of RAM in a directory. (RAM in hugetlbfs is not among them:
User-Mode Linux has none.)"""

import re
from pathlib import Path

from changes import (AFTER, BEFORE, DIRECTORY, change_cd, commit, devices, has_pattern, hmp, image, media, mirror, peripherals,
                     plug, snapshot, unplug, write_pattern)
from faults import FLOW_SECONDS
from lab import VM, end, expect, expect_equal, pause_of, test

QEMU = "11.1.3"
NO_COMPARISON = ["--fault", "no-match"]
NO_CHECK = [*NO_COMPARISON, "--fault", "no-check=command-line"]
RAM = Path("/run/lab/ram")
# Of the guest's kernel: 16 MiB up, where Linux lies.
CODE = "xp /8xw 0x1000000"


# ---- what the source has become ----

def change_all(vm):
    """Returns what was in the drives then."""
    with vm.spy() as spy:
        snapshot(vm, spy)
        mirror(vm, spy)
        commit(vm, spy)
        change_cd(spy, image("two.iso").name)
        unplug(spy, "disk3", "nic0")
        spy.command("blockdev-del", node_name="f4")
        return media(spy)


def expect_lost(vm, before):
    with vm.spy() as spy:
        after = media(spy)
        for disk, change in (("disk0", "a snapshot"), ("disk1", "a mirror with pivot"), ("disk2", "a commit with pivot")):
            with test(f"after {change} the guest's last write is lost") as t:
                expect(not has_pattern(vm, spy, disk, AFTER), "it is there")
                expect_equal(has_pattern(vm, spy, disk, BEFORE), disk == "disk2", "what was there before it is")
                t.measured(f"{before[disk]} -> {after[disk]}")
        with test("after a change of the medium the old one is in again") as t:
            expect_equal(after["cd0"], str(DIRECTORY / "one.iso"), "medium")
            t.measured(f"{before['cd0']} -> {after['cd0']}")
        with test("what was unplugged is plugged in again, untold"):
            expect_equal(peripherals(spy) & {"disk3", "nic0"}, {"disk3", "nic0"}, "devices")
            expect_equal(after["disk3"], str(DIRECTORY / "fourth.raw"), "image that is in use again")


with VM("10.0.2", *devices(), spy=True) as vm:
    before = None
    with test("without the comparison a handoff is `updated` with a destination that is none of a twin") as t:
        drives = change_all(vm)
        t.measured(pause_of(vm.handoff(QEMU, *NO_COMPARISON).updated()))
        before = drives
    if before:
        expect_lost(vm, before)

with VM("10.0.2", *devices(), spy=True) as vm, vm.traffic("echo") as load:
    for name, plugged, id in (
            ("disk", lambda s: (
                s.command("blockdev-add", driver="file", node_name="f9", filename=str(image("plugged.raw"))),
                plug(s, "virtio-blk-pci", "disk9", drive="f9", bus="rp2")), "disk9"),
            ("NIC", lambda s: plug(s, "virtio-net-pci", "nic9", netdev="hub9", bus="rp2"), "nic9"),
            ("second vsock device", lambda s: plug(s, "vhost-vsock-pci", "vsock9", guest_cid=9009, bus="rp2"), "vsock9")):
        with test(f"a {name} that was plugged in: the guest is stopped for nothing") as t, vm.spy() as spy:
            plugged(spy)
            record = vm.handoff(QEMU, *NO_COMPARISON, "--fault", "no-check=hot-plug").still_on_source()
            expect_equal(record["stage"], "load", f"stage ({record.get('reason')})")
            spy.command("query-status")
            stops = [e["event"] for e in spy.events if e["event"] in ("STOP", "RESUME")]
            expect_equal(stops, ["STOP", "RESUME"], "the guest's stops")
            load.check(FLOW_SECONDS)
            unplug(spy, id)
            t.measured(f"{record['reason']}")

# ---- what the command line says ----

with VM("10.0.2", "-drive", f"file={image('base.raw')},format=raw,if=none,id=d,snapshot=on", "-device",
        "virtio-blk-pci,id=disk0,drive=d", spy=True) as vm, test("snapshot=on: what the guest wrote is lost") as t:
    with vm.spy() as spy:
        write_pattern(vm, spy)
        expect(has_pattern(vm, spy), "the source does not have it either")
    record = vm.handoff(QEMU, *NO_CHECK).updated()
    with vm.spy() as spy:
        expect(not has_pattern(vm, spy), "it is there")
    t.measured(f"{record['outcome']}, {pause_of(record)}")


def code(spy):
    """Words of the guest's memory."""
    return re.findall(r"0x[0-9a-f]{8}", hmp(spy, CODE))


def memory(path, *more):
    """With all of the guest's RAM in this file."""
    RAM.mkdir(parents=True, exist_ok=True)
    return ["-object", ",".join((f"memory-backend-file,id=ram1,size=128M,share=on,mem-path={path}", *more)), "-machine",
            "memory-backend=ram1"]


with VM("10.0.2", *memory(RAM / "file", "discard-data=on"), spy=True) as vm, \
        test("discard-data: a destination that exits takes the guest's memory with it") as t:
    with vm.spy() as spy:
        before = code(spy)
        expect(any(int(word, 16) for word in before), "there is nothing in it")
    record = vm.handoff(QEMU, *NO_COMPARISON, "--fault", "no-discard-off", "--fault", "match:after=exit-destination", "--fault",
                        "load:before=hang").still_on_source()
    with vm.spy() as spy:
        after = code(spy)
    expect(not any(int(word, 16) for word in after), f"it is there: {after}")
    t.measured(f"{record['outcome']}, {before[0]} -> {after[0]}")
end()
