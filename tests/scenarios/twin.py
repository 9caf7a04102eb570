#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 240
"""VMs that have changed since their start: a destination that is not the twin is found before the guest is touched. Each
control shows what is lost without the comparison."""

import json
from pathlib import Path

from lab import VM, end, expect, expect_equal, milliseconds, test, wait_until

DIRECTORY = Path("/run/lab/images")
SIZE = 8 << 20
OVERLAY = DIRECTORY / "overlay.qcow2"


def image(name):
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / name
    with path.open("wb") as f:
        f.truncate(SIZE)
    return path


def blockdev(**options):
    return ["-blockdev", json.dumps({k.replace("_", "-"): v for k, v in options.items()})]


def devices():
    """Two disks, one of them by -drive, a CD, a NIC, and places to plug something into."""
    return [
        *blockdev(driver="file", node_name="f0", filename=str(image("disk.raw"))),
        *blockdev(driver="raw", node_name="d0", file="f0"), "-device", "virtio-blk-pci,id=disk0,drive=d0,bus=pcie.0",
        "-drive", f"if=none,id=d1,format=raw,file={image('second.raw')}", "-device", "virtio-blk-pci,id=disk1,drive=d1",
        "-drive", f"if=none,id=cd,format=raw,readonly=on,file={image('one.iso')}",
        "-device", "ide-cd,id=cd0,drive=cd,bus=ide.0", "-object", "iothread,id=io0",
        "-object", "throttle-group,id=limits,x-iops-total=1000", "-object", "rng-builtin,id=rng0",
        "-netdev", "hubport,id=hub,hubid=0",
        "-netdev", "hubport,id=hub9,hubid=1", "-device", "virtio-net-pci,id=nic0,netdev=hub,bus=pcie.0",
        *[w for n in (1, 2) for w in ("-device", f"pcie-root-port,id=rp{n},bus=pcie.0,chassis={n + 10}")],
        "-device", "virtio-rng-pci,id=rng1,rng=rng0,bus=rp1"]


def stops(spy):
    spy.command("query-status")  # reads what has come so far
    return [e for e in spy.events if e["event"] == "STOP"]


def expect_found(vm, spy, id, *words):
    result = vm.handoff("11.1.3")
    record = result.still_on_source()
    expect_equal(record["stage"], "match", f"stage ({record.get('reason')})")
    found = [f for f in record["findings"] if f["severity"] == "blocker"]
    named = [f for f in found if f["id"] == id and all(w in f["what"] for w in words)]
    expect(named, f"no {id} with {words}: {found}")
    expect(named[0].get("remedy"), "no remedy")
    expect_equal(stops(spy), [], "stops of the guest")
    expect_equal(spy.command("query-status")["status"], "running", "run state")
    return f"{named[0]['what']} -> {named[0]['remedy']}"


def hmp(qmp, line):
    return qmp.command("human-monitor-command", command_line=line).strip()


def plug(spy, driver, id, **options):
    spy.command("device_add", driver=driver, id=id, **options)


def peripherals(qmp):
    return {d["name"] for d in qmp.command("qom-list", path="/machine/peripheral") if d["type"].startswith("child<")}


def media(qmp):
    return {d["qdev"].split("/")[3 if d["qdev"].startswith("/") else 0]: d.get("inserted", {}).get("file")
            for d in qmp.command("query-block")}


# (name, what changes it, what changes it back, the finding, words of it)
CHANGES = [
    ("a bitmap in memory", lambda s: s.command("block-dirty-bitmap-add", node="d0", name="since"),
     lambda s: s.command("block-dirty-bitmap-remove", node="d0", name="since"), "bitmap", ["since", "d0"]),
    ("an export", lambda s: (s.command("nbd-server-start", addr={"type": "unix", "data": {"path": "/run/lab/nbd"}}),
                             s.command("block-export-add", type="nbd", id="e0", node_name="d0")),
     lambda s: (s.command("block-export-del", id="e0", mode="hard"), s.command("nbd-server-stop")), "block-export", ["d0"]),
    ("a running mirror", lambda s: (
        s.command("blockdev-add", driver="file", node_name="t0", filename=str(image("target.raw"))),
        s.command("blockdev-mirror", job_id="m0", device="d0", target="t0", sync="full")),
     lambda s: (s.command("block-job-cancel", device="m0", force=True), s.wait_event("BLOCK_JOB_CANCELLED"),
                s.command("blockdev-del", node_name="t0")), "block-job", ["m0", "mirror"]),
    ("a chardev", lambda s: s.command("chardev-add", id="c9", backend={"type": "null", "data": {}}),
     lambda s: s.command("chardev-remove", id="c9"), "chardev", ["c9"]),
    ("changed limits of a group", lambda s: s.command("qom-set", path="/objects/limits", property="limits",
                                                      value={"iops-total": 50}),
     lambda s: s.command("qom-set", path="/objects/limits", property="limits", value={"iops-total": 1000}),
     "object", ["limits"]),
]


def qemu_io(vm, qmp, command):
    """On the first disk, as its guest would do it. QEMU answers on its stdout."""
    log = vm.directory / "log"
    before = len(log.read_text(errors="replace"))
    hmp(qmp, f'qemu-io -d /machine/peripheral/disk0/virtio-backend "{command}"')
    return log.read_text(errors="replace")[before:]


def write_pattern(vm, qmp):
    text = qemu_io(vm, qmp, "write -P 0x5a 4096 4096")
    expect("wrote 4096" in text, f"it did not write: {text!r}")


def expect_pattern(vm, qmp, present):
    text = qemu_io(vm, qmp, "read -P 0x5a 4096 4096")
    expect("read 4096" in text, f"it did not read: {text!r}")
    expect_equal("verification failed" not in text, present, "what was written before is there")


def snapshot(vm, qmp):
    OVERLAY.unlink(missing_ok=True)
    qmp.command("blockdev-snapshot-sync", node_name="d0", snapshot_file=str(OVERLAY), snapshot_node_name="s0",
                format="qcow2")
    write_pattern(vm, qmp)


def pivot(qmp):
    """The second disk moves to another file."""
    qmp.command("drive-mirror", job_id="m1", device="d1", target=str(image("moved.raw")), format="raw", sync="full",
                mode="existing")
    qmp.wait_event("BLOCK_JOB_READY")
    qmp.command("block-job-complete", device="m1")
    qmp.wait_event("BLOCK_JOB_COMPLETED")


def plug_all(qmp):
    qmp.command("blockdev-add", driver="file", node_name="f9", filename=str(image("plugged.raw")))
    qmp.command("blockdev-add", driver="raw", node_name="d9", file="f9")
    qmp.command("object-add", qom_type="iothread", id="io9")
    plug(qmp, "virtio-blk-pci", "disk9", drive="d9", serial="nine", bus="rp2", iothread="io9")
    qmp.command("device_del", id="rng1")
    expect(wait_until(lambda: "rng1" not in peripherals(qmp), 30), "rng1 is not unplugged")
    plug(qmp, "virtio-net-pci", "nic9", netdev="hub9", bus="rp1", mac="52:54:00:00:00:09")


def change_cd(qmp, name):
    qmp.command("blockdev-change-medium", id="cd0", filename=str(DIRECTORY / name), format="raw", read_only_mode="read-only")


CAPABILITIES = ["pause-before-switchover", "multifd", "auto-converge"]


def capabilities(qmp):
    return {c["capability"] for c in qmp.command("query-migrate-capabilities") if c["state"]}


def switch_on(qmp):
    qmp.command("migrate-set-capabilities", capabilities=[{"capability": c, "state": True} for c in CAPABILITIES])


with VM("10.0.2", *devices(), spy=True) as vm, vm.traffic("echo", "counter") as traffic:
    with vm.spy() as spy:
        for name, change, back, id, words in CHANGES:
            with test(name) as t:
                change(spy)
                try:
                    t.measured(expect_found(vm, spy, id, *words))
                finally:
                    back(spy)
                traffic.check()
    with test("settings of a source that goes on are as they were") as t, vm.spy() as spy:
        switch_on(spy)
        mode = spy.command("query-migrate-parameters")["mode"]
        record = vm.handoff("11.1.3", "--fault", "match:after=fail").still_on_source()
        expect_equal(record["stage"], "match", "stage")
        expect_equal(capabilities(spy), set(CAPABILITIES), "capabilities")
        expect_equal(spy.command("query-migrate-parameters")["mode"], mode, "mode")
        traffic.check()
        t.measured(", ".join(CAPABILITIES))

    with test("nothing differs any more") as t:
        record = vm.handoff("11.1.3").updated()
        traffic.check()
        times = {s["stage"]: s["elapsed"] for s in record["stages"]}
        t.measured(f"match {milliseconds(times['match'])}")
    with test("no byte lost, doubled or out of order") as t:
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")

with VM("10.0.2", *devices(), spy=True) as vm, vm.traffic("echo", "counter") as traffic:
    with test("what the source has become, the destination is") as t:
        with vm.spy() as spy:
            snapshot(vm, spy)
            pivot(spy)
            change_cd(spy, image("two.iso").name)
            plug_all(spy)
            before = (peripherals(spy), media(spy))
        record = vm.handoff("11.1.3").updated()
        traffic.check()
        with vm.spy() as spy:
            expect_equal((peripherals(spy), media(spy)), before, "devices and media")
            expect_pattern(vm, spy, True)
            write_pattern(vm, spy)
        t.measured(", ".join(f["what"] for f in record["findings"] if f["id"] == "twin"))

    with test("and so is the next one, from which everything is taken away again") as t:
        with vm.spy() as spy:
            spy.command("blockdev-open-tray", id="cd0", force=True)
            spy.command("blockdev-remove-medium", id="cd0")
            for id in ("disk9", "nic9"):
                spy.command("device_del", id=id)
            expect(wait_until(lambda: not {"disk9", "nic9"} & peripherals(spy), 30), "they are not unplugged")
            for node in ("d9", "f9"):
                spy.command("blockdev-del", node_name=node)
            before = (peripherals(spy), media(spy))
        record = vm.handoff("11.1.3").updated()
        traffic.check()
        with vm.spy() as spy:
            expect_equal((peripherals(spy), media(spy)), before, "devices and media")
            expect_pattern(vm, spy, True)
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured(", ".join(f["what"] for f in record["findings"] if f["id"] == "twin"))

with VM("10.0.2", *devices(), spy=True) as vm, test("the control: without the comparison the guest's writes are lost") as t:
    with vm.spy() as spy:
        snapshot(vm, spy)
        change_cd(spy, image("two.iso").name)
        before = media(spy)
    vm.handoff("11.1.3", "--fault", "no-match").updated()
    with vm.spy() as spy:
        expect_pattern(vm, spy, False)
        after = media(spy)
    expect_equal((after["disk0"], after["cd0"]), (str(DIRECTORY / "disk.raw"), str(DIRECTORY / "one.iso")), "media")
    t.measured(f"{before['disk0']} -> {after['disk0']}, {before['cd0']} -> {after['cd0']}")
end()
