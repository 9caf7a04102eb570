#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: -k 6.12 for check-matrix
# lab: --host trixie
# part of: check
# seconds: 60
"""The pairs of versions, one after the other under the same guest, with its connections open all the time."""

from lab import VM, end, expect, expect_equal, milliseconds, pause_of, test

CHAIN = ["10.0.2", "10.0.2", "11.1.3", "11.1.3"]

with VM(CHAIN[0]) as vm, vm.traffic("echo", "echo:seqpacket", "counter", "idle", "idle:seqpacket") as traffic:
    for source, destination in zip(CHAIN, CHAIN[1:]):
        with test(f"{source} to {destination}") as t:
            traffic.reset_longest()
            record = vm.handoff(destination).updated()
            traffic.check()
            expect_equal((record["source"]["version"], record["destination"]["version"]), (source, destination),
                         "versions in the record")
            expect_equal(vm.version(), destination, "QEMU that answers QMP")
            expect_equal(record["connectionsAfter"], 5, "connections after")
            expect_equal(vm.files(), {"qmp", "serial", "log"}, "files of the VM")
            t.measured(pause_of(record), f"longest echo {milliseconds(traffic.longest('echo') * 1e6)}")

    with test("a QEMU that locks its memory") as t, VM("10.0.2", "-overcommit", "mem-lock=on-fault") as locked:
        expect(locked.traits["locked memory"], "its source does not")
        t.measured(pause_of(locked.handoff("11.1.3").updated()))

    with test("new connections to the guest's listeners") as t:
        with vm.traffic("echo", "echo:seqpacket") as fresh:
            fresh.check()
            fresh.finish()

    with test("no byte lost, doubled or out of order") as t:
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured(f"{traffic.bytes()} bytes on 5 connections over {len(CHAIN) - 1} handoffs")
end()
