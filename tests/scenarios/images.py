# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disk images for scenarios, which have no qemu-img: made, and read from outside of QEMU."""

import struct
from pathlib import Path

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
OFFSET = 0x00fffffffffffe00  # of an entry of a table
COMPRESSED = 1 << 62


def make(path, format, size):
    """An empty one; of a qcow2 with at most one table of the second level (512 MiB)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with path.open("wb") as f:
        if format == "qcow2":
            # A cluster each: the header, the refcount table, a block of refcounts, the table of the first level.
            f.write(struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, CLUSTER_BITS, size, 0, 1, 3 * CLUSTER,
                                CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104))
            f.seek(CLUSTER)
            f.write(struct.pack(">Q", 2 * CLUSTER))
            f.seek(2 * CLUSTER)
            f.write(struct.pack(">4H", 1, 1, 1, 1))
            f.truncate(4 * CLUSTER)
        else:
            f.truncate(size)
    return path


def read_qcow2(f, offset, size):
    """Within one cluster; zeros where nothing was written."""
    def number(at):
        f.seek(at)
        return struct.unpack(">Q", f.read(8))[0]

    level1, = struct.unpack_from(">Q", f.seek(0) or f.read(104), 40)
    level2 = number(level1 + offset // CLUSTER // (CLUSTER // 8) * 8) & OFFSET
    entry = number(level2 + offset // CLUSTER % (CLUSTER // 8) * 8) if level2 else 0
    if entry & COMPRESSED or not entry & OFFSET or entry & 1:
        return bytes(size)
    f.seek((entry & OFFSET) + offset % CLUSTER)
    return f.read(size)


def read(path, offset, size):
    """What a guest would read there."""
    with open(path, "rb") as f:
        if f.read(4) == b"QFI\xfb":
            return read_qcow2(f, offset, size)
        f.seek(offset)
        return f.read(size)
