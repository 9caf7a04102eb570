#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 300
"""What a source has gained since its start is in the destination as the source has it, or is refused by name before
anything is touched: also what QMP does not tell (aio, discard and locking of a node, which are read in its memory)."""

import json
import os
from pathlib import Path

from lab import EXIT_REFUSED, VM, end, expect, expect_equal, read_process, test, traits

DIRECTORY = Path("/run/lab/gained")
SIZE = 8 << 20


def image(name):
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / name
    path.unlink(missing_ok=True)
    with path.open("wb") as f:
        f.truncate(SIZE)
    return str(path)


def blockdev(**options):
    return ["-blockdev", json.dumps({k.replace("_", "-"): v for k, v in options.items()})]


def devices():
    """A disk that discards, and a place to plug something into."""
    return [*blockdev(driver="file", node_name="f0", filename=image("disk.raw")),
            *blockdev(driver="raw", node_name="d0", file="f0", discard="unmap"),
            "-device", "virtio-blk-pci,id=disk0,drive=d0,bus=pcie.0",
            "-device", "pcie-root-port,id=rp1,bus=pcie.0,chassis=11",
            "-smp", "1,maxcpus=4", "-m", "128M,slots=4,maxmem=1G"]


def nodes_of(pid):
    """What the command line of a process says of its nodes, by name."""
    words = read_process(pid, "cmdline").split("\0")
    options = [json.loads(words[i + 1]) for i, word in enumerate(words) if word == "-blockdev"]
    return {o["node-name"]: o for o in options}


def blockers(result):
    expect_equal(result.status, EXIT_REFUSED, f"exit status ({result.why()})")
    return [f for f in result.record.get("findings", []) if f["severity"] == "blocker"]


def add_disks(qmp):
    """One that says more than QMP tells, and one that says nothing."""
    qmp.command("blockdev-snapshot-sync", node_name="d0", snapshot_file=str(DIRECTORY / "overlay.qcow2"),
                snapshot_node_name="s0", format="qcow2")
    qmp.command("blockdev-add", driver="raw", node_name="d9", discard="unmap",
                file={"driver": "file", "filename": image("plugged.raw"), "locking": "off", "aio": "native",
                      "cache": {"direct": True}})
    qmp.command("blockdev-add", driver="file", node_name="f8", filename=image("plain.raw"))
    qmp.command("device_add", driver="virtio-blk-pci", id="disk9", drive="d9", bus="rp1")


def expect_disks(vm):
    nodes = nodes_of(vm.pid)
    file = nodes["d9"]["file"]
    expect_equal((nodes["s0"].get("discard"), nodes["s0"]["file"].get("discard"), nodes["s0"]["file"].get("aio")),
                 ("unmap", "unmap", None), "discard, discard and aio of the snapshot")
    expect_equal((nodes["d9"].get("discard"), file.get("locking"), file.get("aio"), file["cache"]["direct"]),
                 ("unmap", "off", "native", True), "discard, locking, aio and direct of the disk")
    expect_equal({k: nodes["f8"].get(k) for k in ("discard", "locking", "aio")},
                 {"discard": None, "locking": None, "aio": None}, "the plain node")


def target(fd):
    try:
        return os.readlink(fd)
    except FileNotFoundError:  # it was one of a moment
        return ""


LIMITS = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 500, "iops_rd": 0, "iops_wr": 0, "iops_max": 900}


def add_memory_and_cpu(qmp):
    qmp.command("object-add", qom_type="memory-backend-memfd", id="m1", size=128 << 20, share=True)
    qmp.command("object-add", qom_type="memory-backend-file", id="m2", size=128 << 20, share=True, mem_path="/dev/shm")
    for n in (1, 2):
        qmp.command("device_add", driver="pc-dimm", id=f"dimm{n}", memdev=f"m{n}")
    qmp.command("device_add", driver="qemu64-x86_64-cpu", id="cpu1", socket_id=0, core_id=1, thread_id=0)


def throttle(qmp):
    """The names of this command's arguments have underscores."""
    request = {"execute": "block_set_io_throttle",
               "arguments": {"id": "/machine/peripheral/disk0/virtio-backend", "group": "limited", **LIMITS}}
    qmp.socket.sendall(json.dumps(request).encode() + b"\n")
    while "return" not in (answer := qmp.read()):
        expect("error" not in answer, f"block_set_io_throttle: {answer}")


def look(qmp):
    """What is plugged in, and how."""
    drives = {d.get("qdev"): {k: v for k, v in d.get("inserted", {}).items() if k.startswith(("bps", "iops", "group"))}
              for d in qmp.command("query-block")}
    dimms = [{k: v for k, v in d["data"].items() if k != "hotplugged"} for d in qmp.command("query-memory-devices")]
    cpus = [(c["props"], "qom-path" in c) for c in qmp.command("query-hotpluggable-cpus")]
    ids = {d["name"] for d in qmp.command("qom-list", path="/machine/peripheral") if d["type"].startswith("child<")}
    return {"drives": drives, "DIMMs": dimms, "vCPUs": cpus, "ids": ids}


def expect_same(vm, before):
    with vm.spy() as spy:
        after = look(spy)
    for what, value in before.items():
        expect_equal(after[what], value, what)
    return f"{len(before['DIMMs'])} DIMMs, {sum(there for _, there in before['vCPUs'])} vCPUs"


def locks(pid, name):
    """How many ranges of a file a process has locked."""
    found = [fd for fd in Path(f"/proc/{pid}/fd").iterdir() if target(fd) == str(DIRECTORY / name)]
    return sum(read_process(pid, f"fdinfo/{fd.name}").count("\nlock:") for fd in found)


# A guest that is still booting is enough for the others.
for source, destination, *options in (("10.0.2", "10.0.2"), ("10.0.13", "10.0.13", "--no-wait"),
                                      ("11.1.3", "11.1.3", "--no-wait")):
    with VM(source, *devices(), *options, spy=True) as vm, vm.traffic(*[] if options else ["echo", "counter"]) as traffic:
        with test(f"{source}: a node that is not understood is refused by name") as t:
            with vm.spy() as spy:
                spy.command("blockdev-add", driver="file", node_name="f7", filename=image("strange"))
                spy.command("blockdev-add", driver="blkdebug", node_name="d7", image="f7")
                found = blockers(vm.handoff(destination))
                spy.command("blockdev-del", node_name="d7")
                spy.command("blockdev-del", node_name="f7")
            expect([f for f in found if f["id"] == "disk" and "d7" in f["what"] and f.get("remedy")], f"{found}")
            traffic.check()
            t.measured(found[0]["what"])

        with test(f"{source}: nodes that were added are as they were, also in what QMP does not tell") as t:
            with vm.spy() as spy:
                add_disks(spy)
            before = {name: locks(vm.pid, name) for name in ("overlay.qcow2", "plugged.raw")}
            vm.traits = traits(vm.pid)  # by now it has got so far
            record = vm.handoff(destination).updated()
            expect_disks(vm)
            expect_equal({name: locks(vm.pid, name) for name in before}, before, "locks")
            traffic.check()
            t.measured(f"locks {before}", *[f["what"] for f in record["findings"] if f["id"] == "twin"])

        with test(f"{source}: so are DIMMs, a vCPU and limits of a drive") as t:
            with vm.spy() as spy:
                add_memory_and_cpu(spy)
                throttle(spy)
                before = look(spy)
            expect_equal(before["drives"]["/machine/peripheral/disk0/virtio-backend"]["iops"], 500, "the drive's limit")
            vm.handoff(vm.version()).updated()
            traffic.check()
            t.measured(expect_same(vm, before))

        if not options:
            with test(f"{source}: and so they are in the next one") as t:
                vm.handoff("11.1.3").updated()
                traffic.check()
                t.measured(expect_same(vm, before))

        with test(f"{source}: no byte lost, doubled or out of order"):
            traffic.finish()
            expect_equal(vm.resets(), [], "resets in the guest's log")
end()
