#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix, bench
# seconds: 900
"""The soak: 200 handoffs of one VM, back and forth between two versions that load each other's state. (10.0.2 does
not load what 11.1.3 saves.)

  soak-long.py [HANDOFFS [FIRST SECOND]]
"""

import sys

from lab import end
from soak import soak

handoffs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
first, second = sys.argv[2:4] if len(sys.argv) > 3 else ("10.0.2", "10.0.13")
soak(first, second, handoffs)
end()
