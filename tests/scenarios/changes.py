# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a VM becomes after its start, for the scenarios of the twin: its disks, and everything that changes."""

import json
from pathlib import Path

import images
from lab import expect, expect_equal, wait_until

DIRECTORY = Path("/run/lab/images")
SIZE = 8 << 20
OVERLAY = DIRECTORY / "overlay.qcow2"


def image(name, format="raw"):
    return images.make(DIRECTORY / name, format, SIZE)


def blockdev(**options):
    return ["-blockdev", json.dumps({k.replace("_", "-"): v for k, v in options.items()})]


def devices():
    """Four disks, one of them by -drive, one an overlay, a CD, a NIC, and places to plug something into."""
    return [
        *[w for n in (1, 2, 3, 4) for w in ("-device", f"pcie-root-port,id=rp{n},bus=pcie.0,chassis={n + 10}")],
        *blockdev(driver="file", node_name="f0", filename=str(image("disk.raw"))),
        *blockdev(driver="raw", node_name="d0", file="f0"), "-device", "virtio-blk-pci,id=disk0,drive=d0,bus=pcie.0",
        "-drive", f"if=none,id=d1,format=raw,file={image('second.raw')}", "-device", "virtio-blk-pci,id=disk1,drive=d1",
        *blockdev(driver="file", node_name="f2", filename=str(image("base.raw")), auto_read_only=True),
        *blockdev(driver="raw", node_name="b2", file="f2", read_only=True),
        *blockdev(driver="file", node_name="f3", filename=str(image("top.qcow2", "qcow2"))),
        *blockdev(driver="qcow2", node_name="d2", file="f3", backing="b2"), "-device", "virtio-blk-pci,id=disk2,drive=d2",
        *blockdev(driver="file", node_name="f4", filename=str(image("fourth.raw"))), "-device",
        "virtio-blk-pci,id=disk3,drive=f4,bus=rp3",
        "-drive", f"if=none,id=cd,format=raw,readonly=on,file={image('one.iso')}",
        "-device", "ide-cd,id=cd0,drive=cd,bus=ide.0", "-object", "iothread,id=io0",
        "-object", "throttle-group,id=limits,x-iops-total=1000", "-object", "rng-builtin,id=rng0",
        "-netdev", "hubport,id=hub,hubid=0",
        "-netdev", "hubport,id=hub9,hubid=1", "-device", "virtio-net-pci,id=nic0,netdev=hub,bus=rp4,romfile=",
        "-device", "virtio-rng-pci,id=rng1,rng=rng0,bus=rp1"]


def hmp(qmp, line):
    return qmp.command("human-monitor-command", command_line=line).strip()


def plug(spy, driver, id, **options):
    spy.command("device_add", driver=driver, id=id, **options)


def peripherals(qmp):
    return {d["name"] for d in qmp.command("qom-list", path="/machine/peripheral") if d["type"].startswith("child<")}


def media(qmp):
    return {d["qdev"].split("/")[3 if d["qdev"].startswith("/") else 0]: d.get("inserted", {}).get("file")
            for d in qmp.command("query-block")}


# What is written to a disk before a change of it, and after it.
BEFORE, AFTER = 0x5a, 0x66


def qemu_io(vm, qmp, disk, command):
    """As its guest would do it. QEMU answers on its stdout."""
    log = vm.directory / "log"
    before = len(log.read_text(errors="replace"))
    hmp(qmp, f'qemu-io -d /machine/peripheral/{disk}/virtio-backend "{command}"')
    return log.read_text(errors="replace")[before:]


def write_pattern(vm, qmp, disk="disk0", pattern=AFTER):
    text = qemu_io(vm, qmp, disk, f"write -P {pattern} 4096 4096")
    expect("wrote 4096" in text, f"it did not write: {text!r}")


def has_pattern(vm, qmp, disk="disk0", pattern=AFTER):
    text = qemu_io(vm, qmp, disk, f"read -P {pattern} 4096 4096")
    expect("read 4096" in text, f"it did not read: {text!r}")
    return "verification failed" not in text


def expect_patterns(vm, qmp, *disks):
    expect_equal([d for d in disks if not has_pattern(vm, qmp, d)], [], "disks without what was written last")


def snapshot(vm, qmp):
    """Of the first disk, to another file."""
    OVERLAY.unlink(missing_ok=True)
    qmp.command("blockdev-snapshot-sync", node_name="d0", snapshot_file=str(OVERLAY), snapshot_node_name="s0",
                format="qcow2")
    write_pattern(vm, qmp, "disk0")


def complete(qmp, job):
    qmp.wait_event("BLOCK_JOB_READY")
    qmp.command("block-job-complete", device=job)
    qmp.wait_event("BLOCK_JOB_COMPLETED")


def mirror(vm, qmp):
    """The second disk moves to another file."""
    qmp.command("drive-mirror", job_id="m1", device="d1", target=str(image("moved.raw")), format="raw", sync="full",
                mode="existing")
    complete(qmp, "m1")
    write_pattern(vm, qmp, "disk1")


def commit(vm, qmp):
    """The third disk's overlay goes into its base, which the disk is on then. (With the overlay still there a QEMU 10.0.2
    does not give up the base's lock when it stops: a handoff fails in `claim`, and goes back.)"""
    write_pattern(vm, qmp, "disk2", BEFORE)
    qmp.command("block-commit", job_id="c2", device="d2", top_node="d2", base_node="b2")
    complete(qmp, "c2")
    write_pattern(vm, qmp, "disk2")
    for node in ("d2", "f3"):
        qmp.command("blockdev-del", node_name=node)


def unplug(qmp, *ids):
    for id in ids:
        qmp.command("device_del", id=id)
    expect(wait_until(lambda: not set(ids) & peripherals(qmp), 60), f"{ids} are not unplugged")


def plug_all(qmp):
    qmp.command("blockdev-add", driver="file", node_name="f9", filename=str(image("plugged.raw")))
    qmp.command("blockdev-add", driver="raw", node_name="d9", file="f9")
    qmp.command("object-add", qom_type="iothread", id="io9")
    plug(qmp, "virtio-blk-pci", "disk9", drive="d9", serial="nine", bus="rp2", iothread="io9")
    unplug(qmp, "rng1")
    plug(qmp, "virtio-net-pci", "nic9", netdev="hub9", bus="rp1", mac="52:54:00:00:00:09")


def change_cd(qmp, name):
    qmp.command("blockdev-change-medium", id="cd0", filename=str(DIRECTORY / name), format="raw", read_only_mode="read-only")
