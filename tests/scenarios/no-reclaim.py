#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3 --no-reclaim
# part of: check
# seconds: 150
"""A kernel with VHOST_RESET_OWNER only. A destination that dies after its claim takes the connections with it; the
guest stays on its source, which gets a fresh device, so that new connections work.

  no-reclaim.py [STAGE:before|after…]
"""

import sys

from faults import DEADLINES, FLOW_SECONDS, GRACE_SECONDS, MAX_PAUSE, QEMU, Bench, Cell, Table, run_cell, summary
from lab import end, expect, expect_equal, test, wait_until

POINTS = [("claim", "after"), ("verify", "before"), ("verify", "after"), ("commit", "before")]
ACTIONS = ["kill-helper", "kill-destination", "kill-both"]
CONNECTIONS = ("echo", "source", "idle")


def connections_were_lost(vm, load, record):
    """All of them and no more; their clients connected again, to the same guest under the same CID."""
    expect_equal(record.get("lost"), len(CONNECTIONS), "connections lost by the record")
    expect(wait_until(lambda: all(c.reconnects == 1 for c in load.clients), 10),
           f"connected again: {[(c.name, c.reconnects) for c in load.clients]}")
    for client in load.clients:
        expect_equal(client.resets, 1, f"connections that {client.name} lost")
        client.errors.clear()
        client.resets = client.reconnects = 0
    with vm.traffic("echo", "echo:seqpacket") as fresh:
        fresh.check()
        fresh.finish()
    load.check(FLOW_SECONDS)
    expect_equal(vm.serial().count("GUEST READY"), 1, "starts of the guest")


table = Table("without reclaim", ACTIONS)
bench = Bench(CONNECTIONS)

vm, load = bench.ready()
with test("check warns beforehand"):
    findings = {f["id"]: f for f in vm.check(QEMU).last["findings"]}
    expect_equal(findings["kernel-reclaim"]["severity"], "warning", "severity of kernel-reclaim")
    expect(findings["kernel-reclaim"].get("remedy"), "kernel-reclaim has no remedy")

with test("a handoff loses nothing") as t:
    record = vm.handoff(QEMU, "--max-pause", MAX_PAUSE).updated()
    load.check(FLOW_SECONDS)

for stage, when in [p for p in POINTS if not sys.argv[1:] or ":".join(p) in sys.argv[1:]]:
    for action in ACTIONS:
        cell = Cell(stage, when, action)
        bench.ready()
        table.put(f"{stage}:{when}", action, "FAILED")
        with test(cell.name) as t:
            record, seconds = run_cell(bench, [cell.name], "still_on_source", "alive",
                                       DEADLINES[stage] + GRACE_SECONDS, stage, connections_were_lost)
            text = f"{summary(record, seconds, 'alive')}, {record['lost']} lost"
            t.measured(text)
            table.put(f"{stage}:{when}", action, text)
        if table.rows[f"{stage}:{when}"][action] == "FAILED":
            bench.close()
bench.close()
table.print()
end()
