#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: demo
# seconds: 30
"""A QEMU replaced twice under a guest with open connections, to look at. Exit status 0: nothing was lost."""

import os
import platform
import subprocess
import sys
import time

from lab import VM, binary, cprctl, milliseconds

SOURCE, DESTINATION = "10.0.2", "11.1.3"
PLAIN = "NO_COLOR" in os.environ
problems = []


def style(code, text):
    return text if PLAIN else f"\033[{code}m{text}\033[0m"


def title(text):
    print(f"\n{style(1, text)}", flush=True)


def now():
    """On the clock of cprd's records, in microseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def demand(condition, problem):
    if not condition:
        problems.append(problem)


def handoff(vm):
    """cprctl speaks for itself; the history tells what it did."""
    command = ["cprctl", "handoff", vm.name, "--qemu", binary(DESTINATION)]
    title(f"$ {' '.join(command)}")
    if PLAIN:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(run.stdout, end="", flush=True)
    else:
        run = subprocess.run(command)
    record = cprctl("history", vm.name).last["records"][0]
    demand(run.returncode == 0 and record["outcome"] == "updated", f"handoff {record['id']}: {record.get('reason')}")
    return record


def stage_begins(record, name):
    since = 0
    for stage in record["stages"]:
        if stage["stage"] == name:
            break
        since += stage["elapsed"]
    return record["begun"] + since


def timeline(opened, records, closed):
    def line(when, text):
        print(f"  {(when - opened) / 1e6:7.3f} s  {text}")

    title("Timeline")
    line(opened, "connections opened")
    for r in records:
        source, destination = r["source"], r["destination"]
        line(r["begun"], f"handoff {r['id']}: a QEMU {destination['version']} is built beside QEMU {source['version']}")
        line(stage_begins(r, "load"), f"the guest is paused; its state and its vsock device move "
                                      f"from process {source['pid']} to {destination['pid']}")
        line(stage_begins(r, "load") + r["pause"], f"the guest runs again, after {milliseconds(r['pause'])}")
        line(r["begun"] + r["elapsed"], f"process {source['pid']} is gone")
    line(closed, "connections closed, by us")


def result(vm, first_pid, records, reports):
    echo, counter = reports
    before, after = records[0]["connectionsBefore"], records[-1]["connectionsAfter"]
    title("Result")
    print(f"  QEMU         {SOURCE} (process {first_pid})  ->  {vm.version()} (process {vm.pid})")
    print(f"  connections  {before}  ->  {after}, as the host's kernel counts them")
    print(f"  echo         {echo['bytes']:,} bytes to the guest and back, every one checked; longest round trip "
          f"{echo['longest_ms']:.0f} ms")
    print(f"  counter      {counter['messages']:,} numbers ({counter['bytes']:,} bytes) from the guest, every one "
          f"checked; longest silence {counter['longest_ms']:.0f} ms")
    print(f"  pause        {' and '.join(milliseconds(r['pause']) for r in records)}")
    print(f"  guest's log  {'; '.join(vm.resets()) or 'no connection lost, no restart'}")
    demand(before == after == 2, f"connections {before} -> {after}")
    demand(vm.version() == DESTINATION, f"QMP is answered by QEMU {vm.version()}")
    demand(not vm.resets(), "the guest's log shows a reset")
    for r in reports:
        demand(r["clean"], f"{r['client']}: {'; '.join(r['errors'])}")


def main():
    probe = cprctl("probe")
    if probe.status != 0:
        print(style(31, f"WRONG: cprctl probe: {probe.said()}"))
        return 1
    print(f"A host: Linux {platform.release()} with the vhost-vsock change, systemd, cprd, QEMU {SOURCE} and {DESTINATION}.")
    with VM(SOURCE, name="web1", cid=42) as vm, vm.traffic("echo", "counter") as traffic:
        opened = now()
        print(f"A guest: {vm.name}, CID {vm.cid}, under QEMU {SOURCE}, process {vm.pid}.\n"
              "Two connections to it: echo (host to guest and back) and counter (guest to host, a number each 20 ms).")
        time.sleep(1)
        records = []
        for _ in range(2):
            records.append(handoff(vm))
            if problems:
                break
            vm.pid = records[-1]["destination"]["pid"]
            time.sleep(1)
        reports = traffic.stop()
        closed = now()
        if not problems:
            timeline(opened, records, closed)
            result(vm, vm.first_pid, records, reports)
    print()
    for problem in problems:
        print(style(31, f"WRONG: {problem}"))
    if not problems:
        print(style(32, "Updated twice; nothing lost, doubled or out of order."))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
