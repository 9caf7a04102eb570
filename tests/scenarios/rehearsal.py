#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 250
"""A rehearsal does everything but the pause: the guest, under load, runs all the time, and nothing is left behind.

  rehearsal.py [HOW MANY IN A ROW]
"""

import sys
import time

from faults import FLOW_SECONDS, configured, give_way
from lab import HANDOFFS, VM, end, expect, expect_equal, pause_of, test, wait_until
from soak import LOAD, Footprint, processes, store_size

REHEARSALS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
WARM_UP = 2
IDLE_SECONDS = 5
SLOW_SECONDS = 5
# The lab has one CPU: the destination that is built takes its share of it.
FACTOR, GRACE = 3, 0.3


def idle_longest(load):
    load.reset_longest()
    time.sleep(IDLE_SECONDS)
    return load.longest("echo")


def stops(spy):
    spy.command("query-status")
    return [event["event"] for event in spy.events if event["event"] in ("STOP", "RESUME")]


def rehearse(vm, load, spy):
    load.reset_longest()
    result = vm.handoff("11.1.3", "--rehearse")
    expect_equal(result.record.get("outcome"), "rehearsed", f"outcome ({result.why()})")
    expect_equal(result.status, 0, "exit status")
    expect_equal([s["stage"] for s in result.record["stages"]], ["identify", "check", "launch", "begin", "build", "match"],
                 "stages")
    expect_equal(stops(spy), [], "stops of the guest")
    expect_equal(spy.command("query-migrate-parameters")["mode"], "normal", "migration mode")
    load.check(FLOW_SECONDS)
    return result.record["elapsed"] / 1e6


def in_a_row(vm, load):
    """All of them; and what they leave behind, measured after the first two."""
    name = f"{REHEARSALS} rehearsals of 10.0.2 to 11.1.3 in a row"
    before, times, longest = None, [], 0.0
    with test(f"{name}: all rehearsed, the guest runs all the time") as t, vm.spy() as spy:
        for number in range(REHEARSALS):
            if number == WARM_UP:
                before = Footprint(vm)
            times.append(rehearse(vm, load, spy))
            longest = max(longest, load.longest("echo"))
        t.measured(f"{min(times):.1f} to {max(times):.1f} s", f"longest echo {longest * 1000:.0f} ms")
    with test(f"{name}: nothing left behind") as t, vm.spy():
        expect(before, "none went well")
        wait_until(lambda: not list(HANDOFFS.iterdir()) and not store_size())
        wait_until(lambda: processes() == before.processes)
        t.measured(*Footprint(vm).compare(before, REHEARSALS))


with VM("10.0.2", spy=True) as vm, vm.traffic(*LOAD) as load:
    give_way(load)
    in_a_row(vm, load)
    with test("then the handoff") as t:
        record = vm.handoff("11.1.3").updated()
        load.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured(pause_of(record))

with VM("10.0.2", spy=True) as vm, vm.traffic("echo", "counter") as load:
    idle = idle_longest(load)
    with vm.spy() as spy:
        with test("a destination that takes 5 s longer: guest and monitor are served without a gap") as t:
            with configured(deadlines={"match": SLOW_SECONDS * 1000000}):
                load.reset_longest()
                handoff = vm.begin_handoff("11.1.3", "--fault", "match:before=hang")
                handoff.wait_for("match")
                load.reset_longest()
                slowest, until = 0.0, time.monotonic() + SLOW_SECONDS - 0.5
                while time.monotonic() < until:
                    asked = time.monotonic()
                    expect(spy.command("query-status")["running"], "the guest does not run")
                    slowest = max(slowest, time.monotonic() - asked)
                    time.sleep(0.02)
                longest = load.longest("echo")
                handoff.end().still_on_source()
            expect_equal(stops(spy), [], "stops of the guest")
            expect(longest <= FACTOR * idle + GRACE, f"longest echo {longest * 1000:.0f} ms, idle {idle * 1000:.0f} ms")
            t.measured(f"longest echo {longest * 1000:.0f} ms, idle {idle * 1000:.0f} ms",
                       f"slowest answer of the monitor {slowest * 1000:.0f} ms")

    with test("no byte lost, doubled or out of order"):
        load.finish()
end()
