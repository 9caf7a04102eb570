#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: -k 6.12 for check-matrix
# lab: --host trixie for check-matrix
# part of: check
# seconds: 25
"""A host that connects to the guest while it is paused waits, and is connected when the guest runs again."""

import os
import signal
import threading
import time

import traffic
from lab import VM, end, expect, expect_equal, helper_pids, milliseconds, test

# The pause is made this long, by stopping cprd-handoff; AF_VSOCK gives a connect() 2 seconds.
HELD_SECONDS = 0.4


def connect_in_pause(vm, types, handoff):
    """Begins a connection of each type once the source has stopped the guest. Returns the clients, with how long
    each of them took."""
    with vm.spy() as spy:
        handoff.wait_for("begin", "end")
        spy.wait_event("STOP")
        helper, = helper_pids()
        os.kill(helper, signal.SIGSTOP)
        try:
            threads = [Connecting(vm.cid, type) for type in types]
            time.sleep(HELD_SECONDS)
            for thread in threads:
                expect(thread.is_alive(), f"{thread.client.type}: ended within the pause: {thread.error or 'connected'}")
        finally:
            os.kill(helper, signal.SIGCONT)
    return threads


class Connecting(threading.Thread):
    def __init__(self, cid, type):
        super().__init__(daemon=True)
        self.client = traffic.Echo(cid, type)
        self.error = self.took = None
        self.begun = time.monotonic()
        self.start()

    def run(self):
        try:
            self.client.start()
            self.took = time.monotonic() - self.begun
        except OSError as e:
            self.error = e


with VM("10.0.2", spy=True) as vm, vm.traffic("echo", "counter") as open_ones:
    with test("connect() during the pause completes after it") as t:
        handoff = vm.begin_handoff("11.1.3")
        connecting = connect_in_pause(vm, ["stream", "seqpacket"], handoff)
        result = handoff.end()
        record = result.updated()
        vm.note(result)
        for one in connecting:
            one.join(10)
            expect(one.took, f"{one.client.type}: {one.error or 'not connected'}")
            expect(one.took >= HELD_SECONDS, f"{one.client.type}: connected before the guest ran again")
            time.sleep(0.2)
            report = one.client.stop()
            expect(report["clean"] and report["bytes"], f"{one.client.type}: {report['errors']}")
        open_ones.check()
        t.measured(f"pause {milliseconds(record['pause'])}",
                   *(f"{one.client.type} connected after {one.took * 1000:.0f} ms" for one in connecting))

    with test("the connections that were open before") as t:
        open_ones.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
end()
