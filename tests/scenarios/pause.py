#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: --host trixie for bench
# part of: check, bench
# seconds: 60
# alone:
# alone: it measures
"""The pause of a handoff against the floor: a bare cpr-transfer of the same VM without vsock, in turn, in one run.

Both by the time stamps of QMP's events: STOP of the source to RESUME of the destination."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from lab import VM, Qmp, binary, end, event_usec, expect, test, wait_until

TURNS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
LIMIT = 1.25
QEMU = "11.1.3"


def channel(kind, path):
    return {"channel-type": kind, "addr": {"transport": "socket", "type": "unix", "path": str(path)}}


class BareVM:
    """A VM without vsock, whose QEMU is replaced by QEMU's own means alone."""

    def __init__(self):
        self.vm = VM(QEMU, register=False, vsock=False)
        words = Path(f"/proc/{self.vm.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        self.at = next(i for i, word in enumerate(words) if word.startswith("unix:"))
        self.argv = [binary(QEMU)] + words[1:]
        self.qmp = Qmp(self.vm.qmp_path)
        self.process, self.turn = None, 0

    def transfer(self):
        """Returns the pause in microseconds."""
        self.turn += 1
        paths = {name: f"/run/lab/bare-{name}-{self.turn}" for name in ("main", "cpr", "qmp")}
        argv = list(self.argv)
        argv[self.at] = f"unix:{paths['qmp']},server=on,wait=off"
        process = subprocess.Popen(argv + ["-incoming", f"unix:{paths['main']}",
                                           "-incoming", json.dumps(channel("cpr", paths["cpr"]))])
        expect(wait_until(lambda: os.path.exists(paths["cpr"]), 30), "the bare destination makes no CPR channel")
        self.qmp.command("migrate-set-parameters", mode="cpr-transfer")
        self.qmp.command("migrate", channels=[channel("main", paths["main"]), channel("cpr", paths["cpr"])])
        expect(wait_until(lambda: os.path.exists(paths["qmp"]), 30), "the bare destination makes no QMP socket")
        destination = Qmp(paths["qmp"])
        stop = self.qmp.wait_event("STOP")
        resume = destination.wait_event("RESUME")
        self.qmp.command("quit")
        self.qmp.close()
        if self.process:
            self.process.wait()
        self.qmp, self.process = destination, process
        return event_usec(resume) - event_usec(stop)

    def stop(self):
        self.qmp.command("quit")
        self.qmp.close()
        self.process.wait()
        self.vm.stop()


def figures(name, values):
    values = [v / 1000 for v in values]
    return f"{name}: median {statistics.median(values):.0f} ms ({min(values):.0f} to {max(values):.0f})"


with test(f"the pause is at most {LIMIT} times a bare cpr-transfer's") as t:
    with VM(QEMU) as vm, vm.traffic("idle") as traffic:
        bare = BareVM()
        floor, pauses = [], []
        for _ in range(TURNS):
            floor.append(bare.transfer())
            pauses.append(vm.handoff(QEMU).updated()["pause"])
        bare.stop()
        traffic.check()
    ratio = statistics.median(pauses) / statistics.median(floor)
    t.measured(f"ratio {ratio:.2f}", figures("handoff", pauses), figures("bare", floor))
    expect(ratio <= LIMIT, t.text)
end()
