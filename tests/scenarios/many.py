#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 130
"""Eight VMs handed off at once, four at a time, two of them to a QEMU that cannot load their state."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

from faults import FLOW_SECONDS, configured
from lab import VM, Handoff, binary, end, expect, expect_equal, helper_pids, milliseconds, test

VMS = 8
AT_ONCE = 4
# 11.1.3 does not load the virtqueues of 10.0.13, which are longer than its own.
FAILING = ("10.0.13", "11.1.3")
GOOD = ("11.1.3", "11.1.3")
# Eight emulated guests on one CPU.
MAX_PAUSE = "30s"


def pairs():
    return [FAILING if number in (1, 5) else GOOD for number in range(VMS)]


def watch(call):
    """The result of a handoff, and how many ran when it began."""
    call.wait_for("identify")
    running = len(helper_pids())
    return call.end(), running


with contextlib.ExitStack() as stack:
    stack.enter_context(configured(handoffs=AT_ONCE, deadlines={"build": 60000000, "load": 60000000}))
    vms = [stack.enter_context(VM(source, "--memory", "96M")) for source, _ in pairs()]
    loads = [stack.enter_context(vm.traffic("echo", "idle")) for vm in vms]

    with test(f"{VMS} at once, {AT_ONCE} at a time, 2 to a QEMU that fails: 6 updated, 2 still on their source") as t:
        calls = [vm.begin_handoff(destination, "--max-pause", MAX_PAUSE)
                 for vm, (_, destination) in zip(vms, pairs())]
        with ThreadPoolExecutor(VMS) as pool:
            ends = list(pool.map(watch, calls))
        for vm, load, pair, (result, _) in zip(vms, loads, pairs(), ends):
            record = result.still_on_source() if pair == FAILING else result.updated()
            vm.note(result)
            load.check(FLOW_SECONDS)
            if pair == FAILING:
                expect("has 1024 entries in the source, and room for 128" in record["reason"],
                       f"reason: {record['reason']}")
                expect("release" not in [s["stage"] for s in record["stages"]], "the device was released")
        outcomes = [result.record["outcome"] for result, _ in ends]
        expect_equal((outcomes.count("updated"), outcomes.count("still_on_source")), (6, 2), "outcomes")
        most = max(running for _, running in ends)
        expect(1 < most <= AT_ONCE, f"{most} handoffs at a time")
        pauses = sorted(result.record["pause"] for result, _ in ends if result.record["outcome"] == "updated")
        t.measured(f"at most {most} at a time", f"pauses {milliseconds(pauses[0])} to {milliseconds(pauses[-1])}")

    with test("no byte lost, doubled or out of order"):
        for vm, load in zip(vms, loads):
            load.finish()
            expect_equal(vm.resets(), [], f"resets in the log of {vm.name}")
end()
