#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: -k 6.12 for check-matrix
# lab: --host trixie for check-matrix
# part of: check
# seconds: 30
"""A destination that cannot load the source's state: QEMU 10.0.13 gives each virtqueue 1024 entries, 11.1.3 does not
take them. That is found before the guest is touched. Without the check it fails in the load: the source carries on as if
nothing had happened, and its device was never taken from it."""

from lab import VM, end, expect, expect_equal, milliseconds, pause_of, test

with VM("10.0.13", spy=True) as vm, vm.traffic("echo", "echo:seqpacket", "counter") as traffic:
    with test("10.0.13 to 11.1.3 is refused, and the guest runs all the time") as t, vm.spy() as spy:
        record = vm.handoff("11.1.3").still_on_source()
        traffic.check()
        expect_equal(record["stage"], "match", "stage that failed")
        expect("queue 0 of vsock0" in record["reason"] and "1024" in record["reason"], record["reason"])
        expect_equal(spy.command("query-status")["status"], "running", "run state")
        expect("STOP" not in [e["event"] for e in spy.events], f"the guest was stopped: {spy.events}")
        t.measured(record["reason"])

    with test("10.0.13 to 11.1.3 stays on the source") as t:
        record = vm.handoff("11.1.3", "--fault", "no-match").still_on_source()
        traffic.check()
        expect_equal(record["stage"], "load", "stage that failed")
        stages = [s["stage"] for s in record["stages"]]
        expect("release" not in stages and "claim" not in stages, f"the device was released: {stages}")
        expect_equal(vm.pid, vm.first_pid, "process")
        expect_equal(vm.version(), "10.0.13", "QEMU that answers QMP")
        expect_equal(vm.run_state(), "running", "run state")
        expect_equal((record["connectionsBefore"], record["connectionsAfter"], record["lost"]), (3, 3, 0),
                     "connections before, after, lost")
        t.measured(f"guest stopped for {milliseconds(record.get('pause'))}", record["reason"])

    with test("then 10.0.13 to 10.0.13") as t:
        record = vm.handoff("10.0.13").updated()
        traffic.check()
        t.measured(pause_of(record))

    with test("no byte lost, doubled or out of order") as t:
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured(f"{traffic.bytes()} bytes")
end()
