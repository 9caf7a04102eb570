#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --unpatched
# part of: check
# seconds: 15
"""On a kernel without VHOST_RESET_OWNER cprd refuses, says why, and touches nothing."""

from lab import EXIT_REFUSED, VM, cprctl, end, expect, expect_equal, test

with test("probe") as t:
    probe = cprctl("probe")
    expect_equal(probe.status, EXIT_REFUSED, "exit status")
    expect_equal(probe.last["kernel"]["resetOwner"], False, "resetOwner")
    t.measured(probe.last["kernel"].get("problem") or "")

with VM("10.0.2", spy=True) as vm, vm.traffic("echo", "counter") as traffic:
    with test("check and handoff") as t, vm.spy() as spy:
        checked = vm.check("11.1.3")
        expect_equal(checked.status, EXIT_REFUSED, "exit status of check")
        findings = [f for f in checked.last["findings"] if f["severity"] == "blocker"]
        expect_equal([f["id"] for f in findings], ["kernel"], "blockers")
        expect(findings[0].get("remedy"), "no remedy")
        refused = vm.handoff("11.1.3")
        expect_equal(refused.status, EXIT_REFUSED, "exit status of handoff")
        expect_equal(refused.record["outcome"], "refused", "outcome")
        traffic.check()
        expect_equal(spy.command("query-status")["status"], "running", "run state")
        expect_equal(spy.events, [], "QEMU's events")
        traffic.finish()
        t.measured(f"{findings[0]['what']} -> {findings[0]['remedy']}")
end()
