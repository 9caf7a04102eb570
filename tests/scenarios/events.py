#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 160
"""What happens to a guest by itself, or at somebody's second monitor, at random moments of a handoff: reset, power
button, end, panic and watchdog with each of their actions.

  events.py [HOW MANY TRIES] [SEED]

Whatever it is and whenever: never two QEMUs run the guest, and none only if the guest itself has ended; a guest that
stopped is not set running; the record's outcome is one of three, and true. What is said to the source's monitor so late
that its QEMU is stopped before it comes to it happens to nobody, and is counted.
"""

import random
import sys
import threading
import time
from collections import Counter

import traffic
from faults import FLOW_SECONDS, GRACE_SECONDS, Table
from lab import VM, Qmp, end, event_usec, expect, test, wait_until

TRIES = int(sys.argv[1]) if len(sys.argv) > 1 else 8
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1  # One and the same in `make check`; events-long takes others.
QEMU = "11.1.3"
BOOT_SECONDS = 240  # Only so that a guest that does not come fails its try.
STILL_SECONDS = 1

MACHINE = ["--append", "lab.button", "-device", "pvpanic", "-device", "ib700"]
# Options of QEMU, with what happens in it and what that must come to: the guest "booted" again, "gone" (it has ended),
# "alive" as before, or its run state.
ACT, SAY = "act", "say"
MACHINES = [
    ("panic=none,watchdog=reset", [("guest resets", ACT, "r", "booted"), ("system_reset", SAY, "system_reset", "booted"),
                                   ("panic, none", ACT, "p", "booted"), ("watchdog, reset", ACT, "w", "booted"),
                                   ("late watchdog, reset", ACT, "2", "booted")]),
    ("panic=pause,watchdog=pause,shutdown=pause", [
        ("panic, pause", ACT, "p", "guest-panicked"), ("watchdog, pause", ACT, "w", "watchdog"),
        ("late watchdog, pause", ACT, "2", "watchdog"), ("powers off, pause", ACT, "o", "shutdown"),
        ("power button, pause", SAY, "system_powerdown", "shutdown")]),
    ("watchdog=none", [("watchdog, none", ACT, "w", "alive"), ("NMI", SAY, "inject-nmi", "alive")]),
    ("watchdog=inject-nmi", [("watchdog, NMI", ACT, "w", "alive")]),
    ("panic=shutdown,watchdog=shutdown", [("panic, shutdown", ACT, "p", "gone"), ("watchdog, shutdown", ACT, "w", "gone"),
                                          ("power button", SAY, "system_powerdown", "gone")]),
    ("panic=exit-failure,watchdog=poweroff,reboot=shutdown", [
        ("panic, exit-failure", ACT, "p", "gone"), ("watchdog, poweroff", ACT, "w", "gone"),
        ("powers off", ACT, "o", "gone"), ("resets, shutdown", ACT, "r", "gone"),
        ("system_reset, shutdown", SAY, "system_reset", "gone")]),
]
HAPPENED = ("RESET", "SHUTDOWN", "POWERDOWN", "WATCHDOG", "GUEST_PANICKED")
STAGES = ["identify", "check", "launch", "begin", "build", "match", "hang-up", "pause", "retire"]


class Event:
    def __init__(self, options, name, how, what, comes_to):
        self.options, self.name, self.how, self.what, self.comes_to = options, name, how, what, comes_to


EVENTS = [Event(options, *event) for options, events in MACHINES for event in events]


class Watcher(threading.Thread):
    """Reads a monitor to its end, and remembers what was said when."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.events, self.qmp = path, [], None
        self.stopping = False
        self.lock = threading.Lock()

    def run(self):
        while not self.stopping and not self.qmp:
            try:
                self.qmp = Qmp(self.path, None)
            except OSError:
                time.sleep(0.01)
        try:
            while not self.stopping:
                self.qmp.read()
                with self.lock:
                    self.events, self.qmp.events = self.events + self.qmp.events, []
        except (OSError, ValueError, AttributeError):
            pass  # It has exited, or we have closed it.

    def say(self, command):
        """Its answer is not waited for: whoever stops its QEMU may end it."""
        self.qmp.socket.sendall(b'{"execute": "%s"}\n' % command.encode())

    def seen(self, *names):
        with self.lock:
            return [e for e in self.events if e["event"] in names]

    def end(self):
        self.stopping = True
        if self.qmp:
            self.qmp.socket.shutdown(2)
        self.join(GRACE_SECONDS)
        if self.qmp:
            self.qmp.close()


def running_times(events, began, runs):
    """[(from, to)] in µs; to is None if it ran to its end."""
    times, since = [], began if runs else None
    for event in sorted(events, key=event_usec):
        if event["event"] == "RESUME" and since is None:
            since = event_usec(event)
        elif event["event"] == "STOP" and since is not None:
            times.append((since, event_usec(event)))
            since = None
    return times + ([(since, None)] if since is not None else [])


def overlap(source, destination):
    return [(a, b) for a in source for b in destination
            if (a[1] is None or b[0] < a[1]) and (b[1] is None or a[0] < b[1])]


def heeds_its_button(vm):
    """A guest does so a moment after it has said that it is ready."""
    serial = vm.serial()
    return serial.count("GUEST heeds") >= serial.count("GUEST READY")


class Try:
    """One handoff with one event in it."""

    def __init__(self, vm, event, stage, durations, random):
        self.vm, self.event, self.stage, self.durations, self.random = vm, event, stage, durations, random

    def run(self):
        vm = self.vm
        expect(wait_until(lambda: heeds_its_button(vm), BOOT_SECONDS), "the guest does not heed its power button")
        self.boots = vm.serial().count("GUEST READY")
        self.client = traffic.Echo(vm.cid).start()
        actor = traffic.Client(vm.cid, port=1238)
        self.actor = actor.connect() if self.event.how == ACT else None
        self.source = Watcher(vm.spy_path)
        self.source.start()
        expect(wait_until(lambda: self.source.qmp), "the second monitor does not answer")
        self.began = time.time() * 1e6
        handoff = vm.begin_handoff(QEMU)
        finder = threading.Thread(target=self.find_destination, daemon=True)
        self.destination = None
        self.over = False
        finder.start()
        self.wait_for_the_moment(handoff)
        self.happen()
        result = handoff.end()
        self.over = True
        finder.join()
        self.record = result.record
        return result

    def find_destination(self):
        """Its second monitor is beside the source's as long as the handoff goes on."""
        while not self.over and not self.destination:
            for path in self.vm.directory.glob("spy.cprd-*"):
                self.destination = Watcher(path)
                self.destination.start()
            time.sleep(0.02)

    def wait_for_the_moment(self, handoff):
        stage, took = self.stage, self.durations
        if stage == "hang-up":
            handoff.wait_for("match")
            time.sleep(max(0, took["match"] * self.random.uniform(0.9, 1.2)))
        elif stage == "pause":
            handoff.wait_for("match")
            wait_until(lambda: self.source.seen("STOP") or not self.source.is_alive(), 60)
            time.sleep(self.random.uniform(0, took["pause"]))
        else:
            handoff.wait_for(stage)
            time.sleep(self.random.uniform(0, took[stage]))

    def happen(self):
        self.at = time.time() * 1e6
        try:
            if self.event.how == ACT:
                self.actor.sendall(self.event.what.encode())
            elif self.source.is_alive():
                self.source.say(self.event.what)
            else:  # Its QEMU has gone already: the path leads to the next one.
                with self.vm.spy() as spy:
                    spy.command(self.event.what)
        except OSError as e:
            print(f"{self.event.name}: {e}")

    # ---- what must have come of it ----

    def check(self):
        vm, record, event = self.vm, self.record, self.event
        outcome = record.get("outcome")
        expect(outcome in ("updated", "still_on_source", "refused"), f"outcome {outcome}: {record.get('reason')}")
        if outcome == "updated":
            vm.pid = record["destination"]["pid"]
        self.check_processes(outcome)
        text = self.check_guest()
        self.check_times(outcome)
        return f"{outcome}, {text}"

    def check_processes(self, outcome):
        vm = self.vm
        wait_until(lambda: vm.processes() in ([], [vm.pid]), GRACE_SECONDS)
        expect(vm.processes() in ([], [vm.pid]), f"QEMUs {vm.processes()} and {outcome} with {vm.pid}")

    def state(self):
        with self.vm.qmp() as qmp:
            return qmp.command("query-status")["status"]

    def is_booted(self):
        return self.vm.serial().count("GUEST READY") > self.boots

    def is_lost(self):
        """Said to a source that had stopped its guest already, and that was stopped itself before it came to it."""
        stops = [event_usec(e) for e in self.source.seen("STOP")]
        return self.event.how == SAY and self.record.get("outcome") == "updated" and bool(stops) and stops[0] < self.at and \
            not self.source.seen(*HAPPENED) and not (self.destination and self.destination.seen(*HAPPENED))

    def check_guest(self):
        vm, wanted = self.vm, "alive" if self.is_lost() else self.event.comes_to
        why = f"{self.record.get('outcome')}: {self.record.get('reason')}"
        if wanted == "gone":
            expect(wait_until(lambda: not vm.processes(), FLOW_SECONDS), f"it has not ended ({why})")
            return wanted
        expect(vm.processes() == [vm.pid], f"no QEMU has the guest ({why})")
        if wanted == "booted":
            expect(wait_until(self.is_booted, BOOT_SECONDS), f"it has not booted again, {self.state()} ({why})")
            expect(self.state() == "running", f"run state {self.state()} ({why})")
        elif wanted == "alive":
            bytes = self.client.bytes
            expect(wait_until(lambda: self.client.bytes > bytes, FLOW_SECONDS), f"its connection stands still ({why})")
            expect(not self.client.errors, f"{self.client.errors} ({why})")
            return "too late for the source" if self.is_lost() else wanted
        else:
            expect(wait_until(lambda: self.state() == wanted, FLOW_SECONDS), f"run state {self.state()} ({why})")
            time.sleep(STILL_SECONDS)
            expect(self.state() == wanted, f"run state {self.state()} a while later ({why})")
        return wanted

    def check_times(self, outcome):
        """Never two at once."""
        source = running_times(self.source.events, self.began, True)
        destination = running_times(self.destination.events, 0, False) if self.destination else []
        expect(not overlap(source, destination) or outcome != "updated" or self.source_died_first(destination),
               f"two ran the guest: {source}, {destination}")
        expect(not destination or outcome == "updated", f"the destination ran, and {outcome}")

    def source_died_first(self, destination):
        """It has ended by its guest's doing, and said so."""
        ends = [event_usec(e) for e in self.source.seen("SHUTDOWN")]
        return bool(ends) and ends[0] <= destination[0][0]

    def when(self):
        """Where in the handoff it came to happen, by what QEMU says."""
        for side, watcher in (("source", self.source), ("destination", self.destination)):
            for e in watcher.seen(*HAPPENED) if watcher else []:
                stops = [event_usec(s) for s in watcher.seen("STOP")]
                return f"{side}, {'in the pause' if stops and stops[0] < event_usec(e) and side == 'source' else 'running'}"
        return "later"

    def close(self):
        for watcher in (self.source, self.destination):
            if watcher:
                watcher.end()
        self.client.errors.append("over")
        self.client.stopping.set()
        self.client.unblock()
        if self.actor:
            self.actor.close()


def measure(vm):
    """How long each stage takes here, in seconds."""
    record = vm.handoff(QEMU).updated()
    times = {s["stage"]: s["elapsed"] / 1e6 for s in record["stages"]} | {"pause": record["pause"] / 1e6}
    print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in times.items()), flush=True)
    return times


class Bench:
    """A VM for one set of options, another one when its guest has ended or something has failed."""

    def __init__(self):
        self.vm = self.options = None

    def ready(self, options):
        if self.vm and (self.options != options or not self.vm.processes()):
            self.close()
        if not self.vm:
            self.vm, self.options = VM(QEMU, *MACHINE, "-action", options, spy=True), options
        return self.vm

    def revive(self):
        """A guest that has stopped boots again, for the next try."""
        vm = self.vm
        if not vm or not vm.processes():
            return
        boots = vm.serial().count("GUEST READY")
        with vm.qmp() as qmp:
            if qmp.command("query-status")["status"] == "running":
                return
            qmp.command("system_reset")
            qmp.command("cont")
        if not wait_until(lambda: vm.serial().count("GUEST READY") > boots, BOOT_SECONDS):
            self.close()

    def close(self):
        if self.vm:
            self.vm.stop()
        self.vm = None


def plan(chance):
    """Each event with each stage once, then again; as many as are wanted. Those of one machine come one after the other."""
    pairs = []
    while len(pairs) < TRIES:
        events, stages = list(EVENTS), list(STAGES)
        chance.shuffle(events)
        chance.shuffle(stages)
        pairs += [(e, stages[(i + shift) % len(stages)]) for shift in range(len(stages)) for i, e in enumerate(events)]
    return sorted(pairs[:TRIES], key=lambda pair: MACHINES.index(next(m for m in MACHINES if m[0] == pair[0].options)))


chance = random.Random(SEED)
print(f"seed {SEED}", flush=True)
table, outcomes = Table("event", STAGES), Counter()
bench, durations = Bench(), None
for number, (event, stage) in enumerate(plan(chance)):
    vm = bench.ready(event.options)
    durations = durations or measure(vm)
    table.put(event.name, stage, "FAILED")
    good = False
    one = Try(vm, event, stage, durations, chance)
    with test(f"{event.name} in {stage}") as t:
        try:
            one.run()
            text = one.check()
            t.measured(text, one.when())
            table.put(event.name, stage, text.split(",")[0])
            outcomes[text.split(",")[0]] += 1
            good = True
        finally:
            one.close()
    bench.revive() if good else bench.close()
bench.close()
table.print()
with test(f"{TRIES} tries, seed {SEED}") as t:
    t.measured(", ".join(f"{n} {outcome}" for outcome, n in outcomes.items()))
end()
