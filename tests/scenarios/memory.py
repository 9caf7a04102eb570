#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 25
"""cprd's own memory with 50 registered VMs; it must stay small, since cprd is on every host."""

import os
import re
import signal
import subprocess
from pathlib import Path

from lab import binary, cprctl, daemon_pid, end, expect, expect_equal, read_process, test, wait_until

VMS = 50
LIMIT_KIB = 6 << 10
DIRECTORY = Path("/run/lab/many")


def resident_kib():
    return int(re.search(r"^VmRSS:\s+(\d+) kB", read_process(daemon_pid(), "status"), re.M)[1])


def start(number):
    """A real QEMU, with nothing in it but its QMP server."""
    path = DIRECTORY / f"qmp{number}"
    return path, subprocess.Popen([binary("11.1.3"), "-machine", "none", "-nodefaults", "-display", "none", "-S",
                                   "-qmp", f"unix:{path},server=on,wait=off"], stdin=subprocess.DEVNULL)


DIRECTORY.mkdir(parents=True)
with test(f"{VMS} registered VMs") as t:
    before = resident_kib()
    qemus = [start(number) for number in range(VMS)]
    for number, (path, process) in enumerate(qemus):
        expect(wait_until(path.exists, 60), f"no socket {path}")
        registered = cprctl("register", f"many{number}", "--pid", process.pid, "--qmp", path)
        expect_equal(registered.status, 0, registered.errors)
    expect_equal(len(cprctl("list").last["vms"]), VMS, "VMs listed")
    after = resident_kib()
    for number, (_, process) in enumerate(qemus):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        cprctl("unregister", f"many{number}")
    t.measured(f"resident {after} KiB, {before} KiB with none")
    expect(after < LIMIT_KIB, t.text)
end()
