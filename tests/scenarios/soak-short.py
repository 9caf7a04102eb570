#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 60
"""The soak, in short."""

from lab import end
from soak import soak

soak("10.0.2", "10.0.13", 10)
end()
