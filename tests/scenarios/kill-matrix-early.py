#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 700
"""The whole kill matrix, the stages until the guest stops: everything that can break, before and after each of them."""

from faults import ACTIONS, STAGES, Cell, run_matrix
from lab import end

run_matrix([Cell(stage, when, action) for stage in STAGES[:STAGES.index("load")] for when in ("before", "after")
            for action in ACTIONS])
end()
