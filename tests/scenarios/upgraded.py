#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 30
"""What an operator does: upgrades QEMU under its path, asks which VMs are outdated, hands those off."""

import shutil
import subprocess
from pathlib import Path

from lab import VM, binary, cprctl, end, expect_equal, pause_of, test

PATH = Path("/opt/qemu/in-place/bin/qemu-system-x86_64")


def put(version):
    """As a package upgrade does it: a new file is renamed over the old one."""
    fresh = PATH.with_suffix(".dpkg-new")
    shutil.copy2(binary(version), fresh)
    fresh.rename(PATH)


def outdated():
    return [vm["name"] for vm in cprctl("list", "--outdated").last["vms"]]


PATH.parent.mkdir(parents=True)
put("10.0.2")
with VM(str(PATH)) as vm, VM("11.1.3") as other, vm.traffic("echo", "counter") as traffic:
    with test("a VM whose path has what it runs is not outdated") as t:
        for each in (vm, other):
            expect_equal(each.check().status, 0, "exit status of check")
            expect_equal(each.describe().get("outdated"), False, "outdated")
        expect_equal(vm.describe()["version"], "10.0.2", "version")
        expect_equal(outdated(), [], "outdated VMs")

    with test("after an upgrade under its path it is, and the list says both versions") as t:
        put("11.1.3")
        expect_equal(outdated(), [vm.name], "outdated VMs")
        shown = subprocess.run(["cprctl", "list"], stdout=subprocess.PIPE, text=True).stdout
        line = next(line.split() for line in shown.splitlines() if line.startswith(vm.name))
        expect_equal(line[5:8], ["10.0.2", "11.1.3", "yes"], "columns of list")

    with test("a handoff of the outdated ones updates this one alone") as t:
        result = cprctl("handoff", "--outdated", "--max-pause", "20s")
        vm.note(result)
        record = result.updated()
        expect_equal([(r["name"], len(result.replies)) for r in result.replies], [(vm.name, 1)], "VMs handed off")
        expect_equal((vm.version(), other.pid), ("11.1.3", other.first_pid), "version, and the other VM's process")
        expect_equal(outdated(), [], "outdated VMs")
        expect_equal(vm.describe()["version"], "11.1.3", "version")
        traffic.check()
        t.measured(pause_of(record))

    with test("no byte lost, doubled or out of order") as t:
        traffic.finish()
        t.measured(f"{traffic.bytes()} bytes")
end()
