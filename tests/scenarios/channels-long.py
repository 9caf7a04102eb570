#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 500
"""Every way back, with the clients of a console and an agent: see channels.py."""

import os
import sys

os.execv(sys.executable, [sys.executable, os.path.join(os.path.dirname(__file__), "channels.py"), "all"])
