#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 60
"""A source that has lost devices with RAM of their own (a NIC's ROM). QEMU keeps the number of such a RAM's fd in its CPR
state after it has closed it, and sends it: if that number is no fd by then, `migrate` fails in 10.0.2, and 11.1.3 dies of
it. A handoff, or a rehearsal, must not lead to that."""

from changes import devices, image, plug, unplug
from lab import VM, cprctl, binary, end, expect, expect_equal, test


def unplug_some(vm):
    """So many, that the numbers of their fds are not all taken again."""
    with vm.spy() as spy:
        spy.command("blockdev-add", driver="file", node_name="f9", filename=str(image("plugged.raw")))
        plug(spy, "virtio-blk-pci", "disk9", drive="f9", bus="rp2")
        unplug(spy, "rng1")
        plug(spy, "virtio-net-pci", "nic9", netdev="hub9", bus="rp1")
        unplug(spy, "nic9", "disk9", "disk3")
        for node in ("f9", "f4"):
            spy.command("blockdev-del", node_name=node)


for version in ("10.0.2", "11.1.3"):
    with VM(version, *devices(), spy=True) as vm, vm.traffic("echo") as load, test(f"{version} has lost a NIC") as t:
        unplug_some(vm)
        result = cprctl("handoff", vm.name, "--qemu", binary(version), "--rehearse")
        expect_equal(vm.processes(), [vm.pid], f"the source's process ({result.why()})")
        load.check()
        expect(result.record.get("outcome") in ("rehearsed", "refused"), f"{result.record.get('outcome')}: {result.why()}")
        t.measured(result.record["outcome"])
end()
