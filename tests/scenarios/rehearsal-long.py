#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 1500
"""100 rehearsals in a row: see rehearsal.py."""

import os
import sys

os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(__file__), "rehearsal.py"), "100"])
