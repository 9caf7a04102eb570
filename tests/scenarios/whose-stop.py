#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 120
"""Somebody else is at the VM's second monitor during a handoff. A guest that he has stopped stays stopped, a migration
that he has begun is his, and whatever he says never makes two QEMUs run one guest, or none."""

import sys
import time

from faults import GRACE_SECONDS
from lab import VM, end, event_usec, expect, expect_equal, test, wait_until

QEMU = "11.1.3"
TRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 3


def states(spy):
    return spy.command("query-status")["status"], spy.command("query-migrate").get("status", "none")


def stopped_by_operator(vm, load, stage):
    """Stops the guest when the stage has begun, and returns the handoff's end."""
    with vm.spy() as spy:
        handoff = vm.begin_handoff(QEMU)
        handoff.wait_for(stage)
        spy.command("stop")
        result = handoff.end()
        vm.note(result)
        result.still_on_source()
        expect_equal(states(spy)[0], "paused", "run state after the handoff")
        time.sleep(0.5)
        expect_equal(spy.command("query-status")["status"], "paused", "run state a while after it")
        spy.command("cont")
        wait_until(lambda: spy.command("query-status")["running"])
    load.check()
    return result


def at_the_stop(vm, load, command):
    """Says something to the source the moment its guest stops."""
    with vm.spy() as spy:
        handoff = vm.begin_handoff(QEMU)
        handoff.wait_for("match")
        spy.wait_event("STOP")
        try:
            spy.command(command)
            said = "answered"
        except (OSError, RuntimeError) as e:
            said = type(e).__name__
        result = handoff.end()
    vm.note(result)
    expect(result.record["outcome"] in ("updated", "still_on_source"), f"{result.record['outcome']}: {result.why()}")
    expect(not result.record.get("lost"), "connections lost")
    expect(wait_until(lambda: vm.run_state() == "running", GRACE_SECONDS), f"run state {vm.run_state()}")
    load.check()
    return f"{command} {said}: {result.record['outcome']}"


def others_migration(vm, load, uri, wanted):
    """A migration that somebody has begun after the checks."""
    with vm.spy() as spy:
        handoff = vm.begin_handoff(QEMU)
        handoff.wait_for("launch")
        spy.command("migrate", uri=uri)
        result = handoff.end()
        vm.note(result)
        result.still_on_source()
        expect(wait_until(lambda: states(spy) == wanted), f"{states(spy)} instead of {wanted}")
        if wanted[1] == "active":
            spy.command("migrate_cancel")
            expect(wait_until(lambda: states(spy)[1] == "cancelled", 60), f"{states(spy)[1]}")
        else:
            spy.command("cont")
    load.check()
    return result.record["reason"]


with VM(QEMU, spy=True) as vm, vm.traffic("echo", "counter") as load:
    for stage in ("launch", "build", "match"):
        with test(f"stop in {stage}: the guest stays stopped") as t:
            t.measured(stopped_by_operator(vm, load, stage).record["reason"])

    with test("somebody's migration is not cancelled") as t:
        t.measured(others_migration(vm, load, "exec:sleep 10; cat > /dev/null", ("running", "active")))

    with test("after somebody's migration the source is not continued") as t:
        t.measured(others_migration(vm, load, "exec:cat > /dev/null", ("postmigrate", "completed")))

    for number in range(TRIES):
        for command in ("cont", "stop"):
            with test(f"{command} on the second monitor at STOP, try {number + 1}") as t:
                t.measured(at_the_stop(vm, load, command))

    with test("the next handoff") as t:
        result = vm.handoff(QEMU)
        result.updated()
        load.check()
        t.measured(f"pause {result.record['pause'] / 1000:.0f} ms")
    with test("no byte lost, doubled or out of order"):
        load.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")

with VM(QEMU, spy=True) as vm:
    with test("quit on the second monitor at STOP: one QEMU has the guest, or the record says that none has") as t:
        with vm.spy() as spy:
            handoff = vm.begin_handoff(QEMU)
            handoff.wait_for("match")
            stop = event_usec(spy.wait_event("STOP"))
            try:
                spy.command("quit")
            except (OSError, RuntimeError):
                pass
            result = handoff.end()
        expect(stop, "no STOP")
        outcome = result.record["outcome"]
        vm.pid = result.record["destination"]["pid"] if outcome == "updated" else vm.pid
        alive = vm.processes()
        expect(alive == [vm.pid] or (outcome == "still_on_source" and not alive), f"{outcome}, QEMUs {alive}")
        t.measured(outcome)
end()
