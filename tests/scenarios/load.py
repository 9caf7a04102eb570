#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: -k 6.12 for check-matrix
# lab: --host trixie for check-matrix
# part of: check
# seconds: 40
"""Connections that move as much as they can, each way, through handoffs: every byte arrives once and in order."""

import time

from lab import VM, end, expect_equal, pause_of, test

LOADS = [("stream", "10.0.2"), ("seqpacket", "11.1.3")]

with VM("10.0.2") as vm, vm.traffic("idle", "idle:seqpacket") as idle:
    for type, destination in LOADS:
        with test(f"full load each way, {type}, to {destination}") as t:
            with vm.traffic(f"sink:{type}", f"source:{type}") as traffic:
                time.sleep(1)
                record = vm.handoff(destination).updated()
                traffic.check()
                time.sleep(0.5)
                traffic.finish()
                sink, source = traffic.reports
                t.measured(pause_of(record), f"{sink['bytes'] / 1e6:.1f} MB to the guest",
                           f"{source['bytes'] / 1e6:.1f} MB from it")
    with test("idle connections") as t:
        idle.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
end()
