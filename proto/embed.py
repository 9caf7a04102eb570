#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes a text file as a C string: embed.py INPUT OUTPUT NAME"""
import sys

source, target, name = sys.argv[1:]
with open(source, encoding="utf-8") as f, open(target, "w", encoding="utf-8") as out:
    out.write(f"/* made from {name.replace('_', '.')} */\nstatic const char {name}[] =\n")
    for line in f:
        escaped = line.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"')
        out.write(f'        "{escaped}\\n"\n')
    out.write("        ;\n")
