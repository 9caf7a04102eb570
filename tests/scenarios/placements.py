#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: -k 6.12 for check-matrix
# lab: --host trixie for check-matrix
# part of: check
# seconds: 90
"""Wherever the vsock device sits, with an id or without, opened by QEMU or passed to it, by a QEMU with or without
privileges: it is handed over."""

from lab import VM, end, expect_equal, pause_of, test

PLACES = [
    ("on a root port, with an id, opened by QEMU", ["--bus", "rp0"]),
    ("on a root port, without an id, passed as vhostfd", ["--bus", "rp0", "--no-id", "--vhostfd"]),
    ("on pcie.0, with an id, passed as vhostfd", ["--bus", "pcie.0", "--vhostfd"]),
    ("on pcie.0, without an id, opened by QEMU", ["--bus", "pcie.0", "--no-id"]),
    ("on pc's pci.0, with an id, opened by QEMU", ["--machine", "pc"]),
    ("on pc's pci.0, without an id, passed as vhostfd", ["--machine", "pc", "--no-id", "--vhostfd"]),
    ("as libvirt does it: a user of its own, a sandbox, passed as vhostfd",
     ["--user", "lp", "--vhostfd", "-sandbox",
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]),
]

for place, options in PLACES:
    with test(place) as t, VM("10.0.2", *options) as vm, vm.traffic("echo", "echo:seqpacket", "counter") as traffic:
        # Twice: what the first handoff made of the command line must be good for a second one.
        pauses = []
        for destination in ("11.1.3", "11.1.3"):
            pauses.append(pause_of(vm.handoff(destination).updated()))
            traffic.check()
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured("10.0.2 to 11.1.3 to 11.1.3", *pauses)
end()
