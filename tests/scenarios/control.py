#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 20
"""The control: without the shield over the destination, which keeps it from telling the guest to drop its
connections, they do die. So the other scenarios can fail."""

from lab import VM, end, expect, test, wait_until

with test("without the shield the connections die") as t:
    with VM("10.0.2") as vm, vm.traffic("echo", "counter") as traffic:
        vm.handoff("11.1.3", "--fault", "no-shield")
        wait_until(lambda: all(c.resets for c in traffic.clients))
        reports = traffic.stop()
        for report in reports:
            expect(report["resets"], f"{report['client']} has survived")
        expect(vm.resets(), "the guest knows nothing of a lost connection")
        t.measured(f"{len(reports)} of {len(reports)} lost", f"guest: {vm.resets()[0]}")
end()
