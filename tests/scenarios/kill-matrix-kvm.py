#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: --host trixie
# part of: check
# seconds: 110
"""Some cells of the kill matrix where the guest runs under KVM: those in which its state, or its device, changes hands.

  kill-matrix-kvm.py [all]     all: everything that can break, at the beginning of every stage
"""

import sys

from faults import ACTIONS, STAGES, Cell, run_matrix
from lab import end

SOME = [Cell(*words) for words in (("build", "before", "kill-helper"), ("load", "before", "kill-destination"),
                                   ("release", "before", "kill-both"), ("claim", "after", "kill-destination"),
                                   ("verify", "before", "fail"), ("commit", "before", "kill-cprd"))]
ALL = [Cell(stage, "before", action) for stage in STAGES for action in ACTIONS]

run_matrix(ALL if sys.argv[1:] == ["all"] else SOME)
end()
