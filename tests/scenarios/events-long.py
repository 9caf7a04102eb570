#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 4000
"""200 events of a guest in handoffs: see events.py.

  events-long.py [SEED]
"""

import os
import random
import sys

SEED = sys.argv[1] if len(sys.argv) > 1 else str(random.randrange(10 ** 6))

os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(__file__), "events.py"), "200", SEED])
