#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 15
"""cprd knows every option of every QEMU of the lab, and which of them take a value: handoff/options.c against the
tables in the binaries."""

import re
import struct
from pathlib import Path

from lab import binary, end, expect, expect_equal, test

SOURCE = Path("/src/handoff/options.c")
HAS_ARGUMENT = 1
RELATIVE = 8  # R_X86_64_RELATIVE
LOAD, RELA = 1, 4
ENTRY = 24  # QEMUOption: name, flags, index, arch_mask


class Elf:
    def __init__(self, path):
        self.data = Path(path).read_bytes()
        programs, sections = struct.unpack_from("<QQ", self.data, 0x20)
        n_programs, n_sections = (struct.unpack_from("<H", self.data, at)[0] for at in (0x38, 0x3c))
        headers = [struct.unpack_from("<IIQQQQQQ", self.data, programs + 56 * i) for i in range(n_programs)]
        self.segments = [(h[3], h[3] + h[5], h[2]) for h in headers if h[0] == LOAD]
        self.pointers = {}
        for i in range(n_sections):
            section = struct.unpack_from("<IIQQQQIIQQ", self.data, sections + 64 * i)
            if section[1] == RELA:
                table = self.data[section[4]:section[4] + section[5]]
                self.pointers.update({o: a for o, info, a in struct.iter_unpack("<QQq", table) if info == RELATIVE})

    def offset(self, address):
        return next((address - a + at for a, b, at in self.segments if a <= address < b), None)

    def text(self, address):
        """What the pointer at this address points at."""
        at = self.offset(self.pointers.get(address, -1))
        return self.data[at:self.data.index(b"\0", at)].decode("latin1") if at is not None else None

    def options(self):
        """Name: whether it takes a value. The table has "help" and "version" one after the other."""
        starts = [p for p in self.pointers if self.text(p) == "help" and self.text(p + ENTRY) == "version"]
        expect_equal(len(starts), 1, "tables of options")
        at, found = starts[0], {}
        while text := self.text(at):
            found[text] = bool(struct.unpack_from("<I", self.data, self.offset(at) + 8)[0] & HAS_ARGUMENT)
            at += ENTRY
        return found


def known():
    source = SOURCE.read_text()
    lists = {name: re.findall(r'"([^"]+)"', re.search(rf"\b{name}\[\] = {{(.*?)}};", source, re.S)[1])
             for name in ("alone", "with_value")}
    return dict.fromkeys(lists["alone"], False) | dict.fromkeys(lists["with_value"], True)


for version in ("10.0.2", "10.0.13", "11.1.3"):
    with test(f"the options of {version}") as t:
        ours = known()
        theirs = Elf(binary(version)).options()
        expect(len(theirs) > 100, f"only {len(theirs)} options in the table")
        wrong = {name: value for name, value in theirs.items() if ours.get(name) is not value}
        expect_equal(wrong, {}, "options that cprd takes for something else")
        t.measured(f"{len(theirs)} options, {sum(not v for v in theirs.values())} without a value")
end()
