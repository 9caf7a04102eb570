# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many handoffs of one VM, back and forth, under load: nothing is lost, and nothing stays behind."""

import os
import statistics
import subprocess
from collections import Counter
from pathlib import Path

from faults import FLOW_SECONDS, MAX_PAUSE, give_way
from lab import (HANDOFFS, VM, daemon_pid, expect, expect_equal, milliseconds, open_files, process_ids, read_process,
                 test, wait_until)

LOAD = ("echo", "counter", "source")
# An allocator keeps some freed memory; what grows with every handoff is far more than this by the end.
MEMORY_SLACK_KIB = 512
ENDS = 50


def resident_kib(pid):
    """A process's private memory: not the guest's, and not what it shares with its binary."""
    return int(read_process(pid, "status").split("RssAnon:")[1].split()[0])


def store_size():
    """Descriptors that systemd keeps for cprd."""
    return int(subprocess.run(["systemctl", "show", "-P", "NFileDescriptorStore", "cprd.service"], check=True,
                              capture_output=True, text=True).stdout)


def processes():
    """Names of all of them; those of the kernel come and go."""
    return Counter(read_process(pid, "comm").strip() for pid in process_ids() if read_process(pid, "cmdline"))


def files(vm):
    run = Path("/run/cprd")
    return sorted(str(p) for top in (run, vm.directory, Path("/tmp"), Path("/dev/shm")) for p in top.rglob("*"))


class Footprint:
    """Everything that a handoff could leave behind."""

    def __init__(self, vm):
        self.daemon_files = open_files(daemon_pid())
        self.daemon_memory = resident_kib(daemon_pid())
        self.qemu_files = open_files(vm.pid)
        self.qemu_memory = resident_kib(vm.pid)
        self.qemu_arguments = len(read_process(vm.pid, "cmdline"))
        self.threads = len(os.listdir(f"/proc/{vm.pid}/task"))
        self.processes = processes()
        self.files = files(vm)
        self.store = store_size()
        self.units = subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "cprd-handoff@*"],
                                    check=True, capture_output=True, text=True).stdout.splitlines()

    def compare(self, before, handoffs):
        """Returns measurements of what may vary a little."""
        expect_equal(self.daemon_files, before.daemon_files, "descriptors of cprd")
        expect_equal(self.qemu_files, before.qemu_files, "descriptors of QEMU")
        expect_equal(self.processes, before.processes, "processes")
        expect_equal(self.files, before.files, "files")
        expect_equal(self.store, 0, "descriptors in systemd's store")
        expect_equal(self.units, [], "units of cprd-handoff")
        expect_equal(self.qemu_arguments, before.qemu_arguments, "length of QEMU's command line")
        grown = self.daemon_memory - before.daemon_memory
        expect(grown < MEMORY_SLACK_KIB + handoffs, f"cprd grew by {grown} KiB")
        more = self.qemu_memory - before.qemu_memory
        return [f"cprd {before.daemon_memory} -> {self.daemon_memory} KiB",
                f"QEMU {before.qemu_memory} -> {self.qemu_memory} KiB ({more:+d})"]


def pauses_of(records):
    pauses = [r["pause"] for r in records]
    return f"median {milliseconds(statistics.median(pauses))}, max {milliseconds(max(pauses))}"


def soak(first, second, handoffs):
    """Hands one VM from first to second and back, and so on."""
    with VM(first) as vm, vm.traffic(*LOAD) as traffic:
        give_way(traffic)
        records, before = [], None
        name = f"{handoffs} handoffs {first} <-> {second}"
        with test(f"{name}: all updated, no loss") as t:
            # One each way before the measure is taken: caches are warm then, and QEMU is one that cprd has launched.
            for destination in (second, first):
                vm.handoff(destination, "--max-pause", MAX_PAUSE).updated()
            before = Footprint(vm)
            for number in range(handoffs):
                destination = first if number % 2 else second
                record = vm.handoff(destination, "--max-pause", MAX_PAUSE).updated()
                records.append(record)
                traffic.check(FLOW_SECONDS)
                if number % 20 == 19:
                    print(f"{number + 1} of {handoffs}: pauses of the last 20: {pauses_of(records[-20:])}", flush=True)
            t.measured(f"{traffic.bytes()} bytes so far")
        with test(f"{name}: pauses") as t:
            expect_equal(len(records), handoffs, "handoffs done")
            n = min(ENDS, handoffs // 2)
            t.measured(f"first {n}: {pauses_of(records[:n])}", f"last {n}: {pauses_of(records[-n:])}")
        with test(f"{name}: nothing left behind") as t:
            expect(before, "no handoff went well")
            wait_until(lambda: not list(HANDOFFS.iterdir()) and not store_size())
            wait_until(lambda: processes() == before.processes)
            t.measured(*Footprint(vm).compare(before, handoffs))
        with test(f"{name}: no byte lost, doubled or out of order") as t:
            traffic.finish()
            expect_equal(vm.resets(), [], "resets in the guest's log")
            t.measured(f"{traffic.bytes()} bytes on {len(LOAD)} connections")
