#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 120
"""Somebody else uses the VM's second monitor during a handoff. A guest that they stopped stays stopped, a migration
that they began is theirs, and no command of theirs makes two QEMUs run one guest, or none."""

import socket
import sys
import threading
import time

from faults import FLOW_SECONDS, GRACE_SECONDS
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
    load.check(FLOW_SECONDS)
    return result


def at_the_stop(vm, load, command):
    """Sends the source a command the moment its guest stops."""
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
    load.check(FLOW_SECONDS)
    return f"{command} {said}: {result.record['outcome']}"


class Sink:
    """Where somebody else migrates to: reads nothing until it is told to, and then everything."""

    def __init__(self, path):
        self.path, self.listener = path, socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self.listener.close()
        self.path.unlink()

    def accept(self):
        self.connection, _ = self.listener.accept()

    def drain(self):
        while self.connection.recv(1 << 20):
            pass

    def close(self):
        if self.connection:
            self.connection.close()


def others_migration(vm, load, completes):
    """A migration that somebody has begun after the checks, and that is under way or over when cprd begins its own."""
    with vm.spy() as spy, Sink(vm.directory / "sink") as sink:
        handoff = vm.begin_handoff(QEMU)
        handoff.wait_for("launch")
        spy.command("migrate", uri=f"unix:{sink.path}")
        sink.accept()
        if completes:
            threading.Thread(target=sink.drain, daemon=True).start()
        result = handoff.end()
        vm.note(result)
        result.still_on_source()
        wanted = ("postmigrate", "completed") if completes else ("running", "active")
        expect(wait_until(lambda: states(spy) == wanted, 60), f"{states(spy)} instead of {wanted}")
        if completes:
            time.sleep(0.5)
            expect_equal(states(spy), wanted, "a while after it")
            spy.command("cont")
        else:
            sink.close()
            expect(wait_until(lambda: states(spy) == ("running", "failed"), 60), f"{states(spy)} in the end")
    load.check(FLOW_SECONDS)
    return result.record["reason"]


with VM(QEMU, spy=True) as vm, vm.traffic("echo", "counter") as load:
    with test("check names a client whose connection a handoff cuts") as t, vm.spy():
        finding, = [f for f in vm.check(QEMU).last["findings"] if f["id"] == "cut"]
        expect_equal(finding["severity"], "warning", "severity")
        t.measured(finding["what"])

    for stage in ("launch", "build", "match"):
        with test(f"stop in {stage}: the guest stays stopped") as t:
            t.measured(stopped_by_operator(vm, load, stage).record["reason"])

    with test("somebody's migration is not cancelled") as t:
        t.measured(others_migration(vm, load, completes=False))

    with test("after somebody's migration the source is not continued") as t:
        t.measured(others_migration(vm, load, completes=True))

    for number in range(TRIES):
        for command in ("cont", "stop"):
            with test(f"{command} on the second monitor at STOP, try {number + 1}") as t:
                t.measured(at_the_stop(vm, load, command))

    with test("the next handoff") as t:
        result = vm.handoff(QEMU)
        result.updated()
        load.check(FLOW_SECONDS)
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
