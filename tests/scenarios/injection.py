#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: --host trixie for check-matrix
# part of: check
# seconds: 90
"""System calls injected into a busy process, a third of the injectors killed: on the lab's kernel,
whose ptrace differs from that of the machine that runs the unit tests."""

import subprocess

from lab import end, expect, test

TORTURE = "/src/build/lab/tests/unit/test-inject"
INJECTIONS = 2000

with test(f"{INJECTIONS} injections") as t:
    run = subprocess.run([TORTURE, str(INJECTIONS)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    expect(run.returncode == 0, f"status {run.returncode}: {run.stdout[-2000:]}")
    t.measured(run.stdout.strip().splitlines()[-1])
end()
