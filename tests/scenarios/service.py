#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 40
"""cprd as a unit: how little it may do, that it can still do its work, that there is only one, and what it
remembers of binaries."""

import os
import shutil
import subprocess
import time
from pathlib import Path

from lab import VM, binary, cprctl, daemon_pid, end, expect, expect_equal, helper_pids, read_process, test

EXPOSURE = 1.6
LEARNT = Path("/run/cprd/learnt.json")
LINK = Path("/opt/qemu/link")
CAP_SYS_PTRACE, CAP_SYS_ADMIN = 19, 21


def timed_check(vm, qemu=None):
    """What a check took, and which version it was for."""
    began = time.monotonic()
    result = vm.check(qemu)
    expect_equal(result.status, 0, f"exit status of check ({result.said()})")
    return time.monotonic() - began, result.last["destination"]["version"]


def link_to(qemu):
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(f"/opt/qemu/{qemu}")


with test("the unit is exposed as little as it can be") as t:
    result = subprocess.run(["systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE * 10:.0f}",
                             "cprd.service"], stdout=subprocess.PIPE, text=True)
    last = result.stdout.strip().splitlines()[-1]
    expect_equal(result.returncode, 0, f"status ({last})")
    t.measured(last.strip("→ "))

with test("in there it can try out the kernel and look at binaries") as t:
    probed = cprctl("probe").last
    expect(probed["kernel"]["resetOwner"], f"kernel: {probed['kernel']}")
    good = [b["version"] for b in probed["binaries"] if not any(f["severity"] == "blocker" for f in b["findings"])]
    expect({"10.0.2", "11.1.3"} <= set(good), f"binaries: {probed['binaries']}")
    t.measured(f"{len(good)} usable binaries")

with test("a second cprd does not start beside it"):
    pid = daemon_pid()
    second = subprocess.run(["/usr/lib/cprd/cprd"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=20)
    expect_equal(second.returncode, 1, "exit status of the second")
    expect("another cprd" in second.stdout, f"it says {second.stdout}")
    expect_equal(daemon_pid(), pid, "the first one's pid")
    expect_equal(cprctl("list").status, 0, "status of list")

with VM("10.0.2") as vm:
    with test("a binary is asked once, and again when it has changed") as t:
        # A file that no earlier scenario can have asked.
        copy = Path("/opt/qemu/strange/bin/qemu-system-x86_64")
        copy.parent.mkdir(parents=True)
        shutil.copy(binary("11.1.3"), copy)
        first, version = timed_check(vm, str(copy))
        expect_equal(version, "11.1.3", "version")
        asked = LEARNT.stat().st_mtime_ns
        again = min(timed_check(vm, str(copy))[0] for _ in range(3))
        expect_equal(LEARNT.stat().st_mtime_ns, asked, "when something was learnt last")
        subprocess.run(["systemctl", "restart", "cprd"], check=True)
        restarted, _ = timed_check(vm, str(copy))
        expect_equal(LEARNT.stat().st_mtime_ns, asked, "when something was learnt last, after a restart")
        os.utime(copy)
        timed_check(vm, str(copy))
        expect(LEARNT.stat().st_mtime_ns > asked, "a changed file was not asked")
        shutil.rmtree(copy.parent.parent)
        expect(again < first, f"{again:.2f} s, the first time {first:.2f} s")
        t.measured(f"check {first * 1000:.0f} ms, then {again * 1000:.0f} ms, "
                   f"after a restart of cprd {restarted * 1000:.0f} ms")

    # tests/unit/test-sandbox.c tries to break out of it.
    with test("cprd-handoff is in its sandbox once the destination executes, and the destination is not") as t:
        handoff = vm.begin_handoff("11.1.3", "--rehearse")
        handoff.wait_for("match")
        [helper] = helper_pids()
        status = dict(line.split(":", 1) for line in read_process(helper, "status").splitlines())
        filters = {pid: read_process(pid, "status").partition("Seccomp:")[2].split()[0] for pid in vm.processes()}
        expect_equal(handoff.end().record.get("outcome"), "rehearsed", "outcome")
        capabilities = int(status["CapEff"], 16)
        expect_equal(status["Seccomp"].strip(), "2", "its mode of seccomp")
        expect(capabilities >> CAP_SYS_PTRACE & 1 and not capabilities >> CAP_SYS_ADMIN & 1,
               f"its capabilities are {capabilities:#x}")
        expect_equal(len(filters), 2, "QEMUs")
        expect_equal(set(filters.values()), {"0"}, "the QEMUs' modes of seccomp")
        t.measured(f"capabilities {capabilities:#x}")

link_to("10.0.2")
with VM(str(LINK / "bin/qemu-system-x86_64")) as vm:
    with test("a binary by a link: what the link leads to by now"):
        expect_equal(vm.describe()["binary"], str(LINK / "bin/qemu-system-x86_64"), "binary")
        expect_equal(timed_check(vm)[1], "10.0.2", "version")
        link_to("11.1.3")
        expect_equal(timed_check(vm)[1], "11.1.3", "version behind the changed link")
        vm.handoff().updated()
        expect_equal(vm.version(), "11.1.3", "version after the handoff")
        expect_equal(vm.describe()["binary"], str(LINK / "bin/qemu-system-x86_64"), "binary after the handoff")
LINK.unlink()

end()
