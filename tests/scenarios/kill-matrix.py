#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 240
"""One third of the kill matrix, a different one each day: everything that can break, at the beginning of every stage.

  kill-matrix.py [all|1|2|3] [STAGE…]
"""

import sys
import time

from faults import ACTIONS, FLOW_SECONDS, STAGES, Bench, Cell, check_end, handoff_with, run_matrix
from lab import end, expect, test

THIRDS = 3

which = sys.argv[1] if len(sys.argv) > 1 else str(1 + int(time.time() // 86400) % THIRDS)
# Along the diagonals, so that each third has cells of every stage and of every action.
cells = [Cell(stage, "before", action) for i, stage in enumerate(STAGES) for j, action in enumerate(ACTIONS)
         if which == "all" or (i + j) % THIRDS == int(which) - 1]
cells = [cell for cell in cells if not sys.argv[2:] or cell.stage in sys.argv[2:]]
bench = Bench()
vm, load = bench.ready()
with test("the pause budget used up before commit") as t:
    record, seconds = handoff_with(vm, max_pause="1ms")
    check_end(vm, record, "still_on_source", "alive")
    expect("pause budget" in record["reason"], record["reason"])
    load.check(FLOW_SECONDS)
    t.measured(f"{seconds:.1f} s")
bench.close()
run_matrix(cells, "stage" if which == "all" else f"third {which} of {THIRDS}")
end()
