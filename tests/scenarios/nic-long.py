#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 900
"""All NICs of nic.py, and a failure from before the destination has the queues to after it."""

import os
import sys

os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(__file__), "nic.py"), "4", "6"])
