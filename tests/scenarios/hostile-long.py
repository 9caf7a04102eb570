#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 3000
"""500 handoffs of hostile sources: see hostile.py.

  hostile-long.py [SEED]
"""

import os
import random
import sys

SEED = sys.argv[1] if len(sys.argv) > 1 else str(random.randrange(10 ** 6))

print(f"seed {SEED}", flush=True)
os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(__file__), "hostile.py"), "500", SEED])
