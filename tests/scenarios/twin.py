#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 240
"""What a VM has become since its start, its destination is; one that is not its twin is found before the guest is
touched. losses.py shows what is lost without that."""

from changes import (change_cd, commit, devices, expect_patterns, image, media, mirror, peripherals, plug_all, snapshot,
                     unplug)
from lab import VM, end, expect, expect_equal, milliseconds, test

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
            mirror(vm, spy)
            commit(vm, spy)
            change_cd(spy, image("two.iso").name)
            plug_all(spy)
            before = (peripherals(spy), media(spy))
        record = vm.handoff("11.1.3").updated()
        traffic.check()
        with vm.spy() as spy:
            expect_equal((peripherals(spy), media(spy)), before, "devices and media")
            expect_patterns(vm, spy, "disk0", "disk1", "disk2")
        t.measured(", ".join(f["what"] for f in record["findings"] if f["id"] == "twin"))

    with test("and so is the next one, from which everything is taken away again") as t:
        with vm.spy() as spy:
            spy.command("blockdev-open-tray", id="cd0", force=True)
            spy.command("blockdev-remove-medium", id="cd0")
            unplug(spy, "disk9", "nic9", "disk3")
            for node in ("d9", "f9", "f4"):
                spy.command("blockdev-del", node_name=node)
            before = (peripherals(spy), media(spy))
        record = vm.handoff("11.1.3").updated()
        traffic.check()
        with vm.spy() as spy:
            expect_equal((peripherals(spy), media(spy)), before, "devices and media")
            expect_patterns(vm, spy, "disk0", "disk1", "disk2")
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured(", ".join(f["what"] for f in record["findings"] if f["id"] == "twin"))

end()
