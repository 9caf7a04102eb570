#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 150
"""Guest memory in a file that has no name (a directory as mem-path) or one, with discard-data=on: the destination runs
on the source's own file, and none of both QEMUs discards it while the other needs it, however it ends. (Not tried here:
hugetlbfs, which User-Mode Linux does not have.)"""

import os
from pathlib import Path

from lab import VM, end, expect, expect_equal, read_process, test, traits, wait_until

SHM = Path("/dev/shm")


def options(path):
    return ["-object", f"memory-backend-file,id=ram1,size=128M,share=on,mem-path={path},discard-data=on",
            "-machine", "memory-backend=ram1"]


def discards(vm):
    with vm.spy() as spy:
        return spy.command("qom-get", path="/objects/ram1", property="discard-data")


def file_of(pid):
    """The file that the guest's memory is in, by its inode: the largest that is mapped."""
    found = {}
    for line in read_process(pid, "maps").splitlines():
        words = line.split(None, 5)
        if "shm" in words[-1] or "qemu_back_mem" in words[-1]:
            begin, end = (int(a, 16) for a in words[0].split("-"))
            found[words[4]] = found.get(words[4], 0) + end - begin
    return max(found, key=found.get)


def mem_path(pid):
    words = read_process(pid, "cmdline").split("\0")
    return next(w for w in words if w.startswith("memory-backend-file")).split("mem-path=")[1].split(",")[0]


def still_whole(vm, traffic, file):
    traffic.check()
    expect_equal(file_of(vm.pid), file, "inode of the guest's memory")
    expect_equal(discards(vm), True, "discard-data")


def hand_on(vm, qemu, traffic, file):
    """Returns where the destination has its memory."""
    vm.handoff(qemu).updated()
    still_whole(vm, traffic, file)
    return mem_path(vm.pid)


def named(record, id):
    return [f["what"] for f in record["findings"] if f["severity"] == "blocker" and f["id"] == id]


with VM("10.0.2", *options(SHM), spy=True) as vm, vm.traffic("echo", "counter") as traffic:
    file = file_of(vm.pid)
    with test("the control: a destination that opens the directory has other memory, and is refused") as t:
        record = vm.handoff("11.1.3", "--fault", "no-memory-fd").still_on_source()
        expect_equal(record["stage"], "match", f"stage ({record['reason']})")
        expect([what for what in named(record, "memory") if "RAM block" in what], f"no such finding: {record['findings']}")
        still_whole(vm, traffic, file)
        t.measured(named(record, "memory")[0])

    for fault in ("match:after=exit-destination", "load:after=exit-destination", "release:after=exit-destination",
                  "load:after=kill-destination", "claim:after=fail"):
        with test(f"back to the source, whose memory is whole: {fault}") as t:
            record = vm.handoff("11.1.3", "--fault", fault).still_on_source()
            still_whole(vm, traffic, file)
            t.measured(record["stage"])

    with test("10.0.2 to 11.1.3, memory in a directory, discard-data=on") as t:
        t.measured(f"mem-path {SHM} -> {hand_on(vm, '11.1.3', traffic, file)}")
    with test("11.1.3 to 11.1.3, and so on") as t:
        t.measured(hand_on(vm, "11.1.3", traffic, file))
    with test("no byte lost, doubled or out of order"):
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")

DIMM = ["-object", f"memory-backend-file,id=more,size=128M,share=on,mem-path={SHM}", "-device",
        "pc-dimm,id=dimm1,memdev=more", "-m", "128M,slots=2,maxmem=1G"]


def target(fd):
    try:
        return os.readlink(fd)
    except FileNotFoundError:  # it was one of a moment
        return ""


def first_byte(vm):
    """Of the DIMM, as the guest would see it."""
    with vm.spy() as spy:
        return spy.command("human-monitor-command", command_line="xp /1xb 0x100000000").split()[-1]


# Of the memory that it was started with a QEMU would find some pieces missing, but not before the pause.
with VM("10.0.2", "--no-wait", *DIMM, spy=True) as vm, test(
        "the control: without the fd, and without the comparison, a DIMM is empty after a handoff") as t:
    file = next(fd for fd in Path(f"/proc/{vm.pid}/fd").iterdir() if "qemu_back_mem.more" in target(fd))
    with file.open("r+b", buffering=0) as memory:
        memory.write(b"\x5a")
    before = first_byte(vm)
    vm.traits = traits(vm.pid)
    vm.handoff("10.0.2", "--fault", "no-memory-fd", "--fault", "no-match").updated()
    expect_equal((before, first_byte(vm)), ("0x5a", "0x00"), "the DIMM's first byte before and after it")
    t.measured(f"{before} -> {first_byte(vm)}")

NAMED = SHM / "named"
with VM("10.0.13", *options(NAMED), spy=True) as vm, vm.traffic("echo", "counter") as traffic:
    file = file_of(vm.pid)
    with test("10.0.13 to 10.0.13, memory in a file with a name, discard-data=on") as t:
        t.measured(hand_on(vm, "10.0.13", traffic, file))
    NAMED.unlink()
    with test("the same once the name is gone") as t:
        t.measured(hand_on(vm, "10.0.13", traffic, file))
    with test("no byte lost, doubled or out of order"):
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
    with test("a QEMU that is asked to exit discards it, as it was told to") as t, open(f"/proc/{vm.pid}/map_files/" + next(
            line.split()[0] for line in read_process(vm.pid, "maps").splitlines() if line.split()[4] == file), "rb") as memory:
        before = os.fstat(memory.fileno()).st_blocks
        with vm.qmp() as qmp:
            qmp.command("quit")
        expect(wait_until(lambda: not vm.processes(), 30), "it has not exited")
        after = os.fstat(memory.fileno()).st_blocks
        expect(after == 0 < before, f"blocks of the file: {before} before, {after} after")
        t.measured(f"{before} blocks before, {after} after")
end()
