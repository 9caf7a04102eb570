#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: -k 6.12 for check-matrix
# part of: check
# seconds: 20
"""The control: without the shield over the destination, which keeps it from telling the guest to drop its
connections, they do die. This proves that the other scenarios can fail."""

from lab import VM, end, expect, test, wait_until

with test("without the shield the connections die") as t:
    with VM("10.0.2") as vm, vm.traffic("echo", "counter") as traffic:
        vm.handoff("11.1.3", "--fault", "no-shield")
        wait_until(lambda: len(vm.resets()) >= 2, 15)
        print(vm.serial())
        print([r for r in traffic.stop()])
        lost = vm.resets()
        expect(len(lost) >= 2, f"the guest lost {len(lost)} of 2 connections")
        # Reset, unless it has nothing more to send: the guest does not say by itself that it dropped it.
        echo = traffic.clients[0]
        expect(echo.resets or "stalled" in str(echo.errors), "the host's echo connection has survived")
        t.measured(*lost)
end()
