#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 60
"""A rehearsal does everything but the pause: the guest runs all the time, and nothing is left behind.

  rehearsal.py [HOW MANY IN A ROW]
"""

import sys
import time

from faults import configured
from lab import VM, end, expect, expect_equal, pause_of, test

REHEARSALS = int(sys.argv[1]) if len(sys.argv) > 1 else 4
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


with VM("10.0.2", spy=True) as vm, vm.traffic("echo", "counter") as load:
    idle = idle_longest(load)
    with vm.spy() as spy:
        for number in range(REHEARSALS):
            with test(f"rehearsal {number + 1} of 10.0.2 to 11.1.3") as t:
                load.reset_longest()
                result = vm.handoff("11.1.3", "--rehearse")
                expect_equal(result.record.get("outcome"), "rehearsed", f"outcome ({result.why()})")
                expect_equal(result.status, 0, "exit status")
                expect_equal([s["stage"] for s in result.record["stages"]],
                             ["identify", "check", "launch", "begin", "build", "match"], "stages")
                expect_equal(stops(spy), [], "stops of the guest")
                expect_equal(spy.command("query-migrate-parameters")["mode"], "normal", "migration mode")
                load.check()
                t.measured(f"{result.record['elapsed'] / 1e6:.1f} s",
                           f"longest echo {load.longest('echo') * 1000:.0f} ms, idle {idle * 1000:.0f} ms")

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

    with test("then the handoff") as t:
        record = vm.handoff("11.1.3").updated()
        load.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured(pause_of(record))
end()
