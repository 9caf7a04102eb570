#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 500
"""A second fault while the first one is being undone: never two QEMUs, and the outcome tells the truth."""

import contextlib

from faults import GONE, GRACE_SECONDS, UNDO_STAGES, WORDS, Bench, Table, Cell, run_cell, short_deadline, summary
from lab import end, test

SECOND = ["fail", "hang", "kill-helper", "kill-cprd", "kill-both", "kill-destination", "exit-destination",
          "kill-source", "close-qmp"]
# All undos of a handoff that fails at its last stage, some of them with the destination still to be killed.
LIMIT_SECONDS = 40


def expected(stage, action):
    """The rollback succeeds whatever happens during it; only a killed source does not come back."""
    touched = stage != "identify" or action in ("kill-helper", "kill-both")
    outcome = "still_on_source" if touched else "refused"
    # The last undo lets go of the device; what the source does after that is no concern of the handoff.
    return outcome, GONE if action == "kill-source" else "alive"


def run(bench, stage, when, action, table):
    first, second = Cell(stage, "after", "fail").name, f"undo-{Cell(stage, when, action).name}"
    outcome, where = expected(stage, action)
    table.put(f"{stage}:{when}", action, "FAILED")
    bench.ready()
    with test(f"{first}, {second}") as t:
        record, seconds = run_cell(bench, [first, second], outcome, where, LIMIT_SECONDS)
        text = summary(record, seconds, where)
        t.measured(text)
        table.put(f"{stage}:{when}", action, text)
    if where == GONE or table.rows[f"{stage}:{when}"][action] == "FAILED":
        bench.close()


table = Table("undo of", SECOND)
bench = Bench()
for stage in UNDO_STAGES:
    for when in ("before", "after"):
        for action in SECOND:
            bench.ready()
            with short_deadline(stage) if action == "hang" else contextlib.nullcontext():
                run(bench, stage, when, action, table)
with test("no byte lost, doubled or out of order"):
    bench.finish()
bench.close()
table.print()
end()
