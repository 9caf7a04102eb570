#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 40
"""What belongs to a QEMU on its host is the destination's afterwards: files that it was given as fds (-add-fd, QMP
add-fd; /dev/fdset/N), its pidfile."""

import contextlib
import fcntl
import json
import os
import socket
from array import array
from pathlib import Path

from lab import VM, end, expect, expect_equal, test

LOG, PIDFILE = Path("/run/lab/fdset-log"), Path("/run/lab/vm.pid")


# ---- fd sets ----

def sets(qmp):
    return {(s["fdset-id"], tuple(fd.get("opaque") for fd in s["fds"])) for s in qmp.command("query-fdsets")}


def add_fd(qmp, fd, **arguments):
    request = {"execute": "add-fd", "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}
    qmp.socket.sendmsg([json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))])
    while "return" not in (message := qmp.read()):
        expect("error" not in message, message)


def modes(vm, qmp):
    """How the fds in the sets are open."""
    numbers = [fd["fd"] for s in qmp.command("query-fdsets") for fd in s["fds"]]
    text = [Path(f"/proc/{vm.pid}/fdinfo/{n}").read_text() for n in numbers]
    return sorted(line.split()[1] for t in text for line in t.splitlines() if line.startswith("flags"))


def add_unnamed(qmp):
    fd = os.memfd_create("unnamed")
    os.write(fd, b"x" * 65536)
    add_fd(qmp, fd, fdset_id=9, opaque="a,b")
    os.close(fd)


def holders(path):
    """Who has the file open. Other fds come and go meanwhile."""
    found = set()
    for p in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if os.readlink(p) == str(path):
                found.add(int(p.parts[2]))
    return found


def expect_sets(vm, before, flags):
    with vm.spy() as spy:
        expect_equal(sets(spy), before, "sets")
        expect_equal(modes(vm, spy), flags, "access modes")
        spy.command("blockdev-add", driver="file", node_name="still", filename="/dev/fdset/9")
        spy.command("blockdev-del", node_name="still")
    expect(vm.pid in holders(LOG), "the log is not open")


# ---- pidfile ----

def expect_pidfile(vm):
    expect_equal(PIDFILE.read_text().strip(), str(vm.pid), "pid in the pidfile")
    expect_equal([p.name for p in PIDFILE.parent.glob("*.pid*")], [PIDFILE.name], "pidfiles")
    with PIDFILE.open("r+") as f:
        try:
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
    raise AssertionError("the pidfile is not locked")


# ---- the tests ----

for path in (LOG, PIDFILE):
    path.unlink(missing_ok=True)
OPTIONS = ["--add-fd", f"7={LOG}", "-chardev", "file,id=log,path=/dev/fdset/7,append=on",
           "-device", "isa-debugcon,chardev=log,iobase=0x402", "-pidfile", str(PIDFILE)]
with VM("10.0.2", *OPTIONS, spy=True) as vm, vm.traffic("echo") as traffic:
    with vm.spy() as spy:
        add_unnamed(spy)
        before, flags = sets(spy), modes(vm, spy)
    expect_pidfile(vm)

    for fault in ("match:after=fail", "claim:after=fail", "commit:before=kill-helper"):
        with test(f"as before after a way back: {fault}") as t:
            vm.handoff("11.1.3", "--fault", fault).still_on_source()
            expect_sets(vm, before, flags)
            expect_pidfile(vm)

    for qemu in ("10.0.2", "11.1.3", "11.1.3"):
        with test(f"the destination has it all, to {qemu}"):
            vm.handoff(qemu).updated()
            traffic.check()
            expect_sets(vm, before, flags)
            expect_pidfile(vm)

    with test("a helper that dies after the commit leaves nothing undone") as t:
        vm.handoff("11.1.3", "--fault", "retire:before=kill-helper").updated()
        expect_sets(vm, before, flags)
        expect_pidfile(vm)
        traffic.check()
        traffic.finish()

end()
