#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 40
"""What belongs to a QEMU on its host is the destination's afterwards: files that it was given as fds (-add-fd, QMP
add-fd; /dev/fdset/N), its pidfile, the address of its VNC display."""

import contextlib
import fcntl
import json
import os
import socket
import struct
from array import array
from pathlib import Path

from lab import VM, end, expect, expect_equal, test

LOG, PIDFILE, VNC = Path("/run/lab/fdset-log"), Path("/run/lab/vm.pid"), Path("/run/lab/vnc")
PASSWORD_AUTH, NO_AUTH = 2, 1


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


# ---- VNC ----

def connect(address):
    s = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
    s.settimeout(60)
    s.connect(address)
    return s


def receive(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        expect(more, "the VNC server has closed the connection")
        data += more
    return data


def greet(s):
    """RFB up to the server's list of ways to log in."""
    expect_equal(receive(s, 4), b"RFB ", "the VNC server's greeting")
    receive(s, 8)
    s.sendall(b"RFB 003.008\n")
    return receive(s, receive(s, 1)[0])


def picture(s):
    """The size of the screen, and the bytes of a full update of it."""
    expect_equal(list(greet(s)), [NO_AUTH], "ways to log in")
    s.sendall(bytes([NO_AUTH]))
    expect_equal(receive(s, 4), bytes(4), "result of the login")
    s.sendall(b"\1")
    width, height = struct.unpack(">HH", receive(s, 4))
    receive(s, 16)
    receive(s, struct.unpack(">I", receive(s, 4))[0])
    s.sendall(struct.pack(">BxHi", 2, 1, 0) + struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
    expect_equal(receive(s, 1), b"\0", "type of the first message")
    return width, height


def see(address):
    with contextlib.closing(connect(address)) as s:
        return picture(s)


def listener(address):
    """Who listens there: the inode of the socket."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and int(words[1].split(":")[1], 16) == address[1]:
            return words[9]


# ---- the tests ----

for path in (LOG, PIDFILE, VNC):
    path.unlink(missing_ok=True)
ADDRESS = ("127.0.0.1", 5907)
OPTIONS = ["--add-fd", f"7={LOG}", "-chardev", "file,id=log,path=/dev/fdset/7,append=on",
           "-device", "isa-debugcon,chardev=log,iobase=0x402", "-pidfile", str(PIDFILE),
           "-vnc", f"{ADDRESS[0]}:{ADDRESS[1] - 5900},id=screen,share=force-shared", "-device", "cirrus-vga,addr=0x6"]
with VM("10.0.2", *OPTIONS, spy=True) as vm, vm.traffic("echo") as traffic:
    with vm.spy() as spy:
        add_unnamed(spy)
        before, flags = sets(spy), modes(vm, spy)
    expect_pidfile(vm)
    size, inode = see(ADDRESS), listener(ADDRESS)
    expect(inode, "nobody listens")

    for fault in ("match:after=fail", "claim:after=fail", "commit:before=kill-helper"):
        with test(f"as before after a way back: {fault}") as t:
            vm.handoff("11.1.3", "--fault", fault).still_on_source()
            expect_sets(vm, before, flags)
            expect_pidfile(vm)
            expect_equal((see(ADDRESS), listener(ADDRESS)), (size, inode), "VNC")

    for qemu in ("10.0.2", "11.1.3", "11.1.3"):
        with test(f"the destination has it all, to {qemu}") as t, contextlib.closing(connect(ADDRESS)) as viewer:
            expect_equal(picture(viewer), size, "size of the screen")
            found = {f["what"] for f in vm.check(qemu).last["findings"] if f["id"] == "vnc"}
            expect(any("cuts 1 clients" in w for w in found), f"the viewer is not named: {found}")
            vm.handoff(qemu).updated()
            traffic.check()
            expect_sets(vm, before, flags)
            expect_pidfile(vm)
            expect_equal((see(ADDRESS), listener(ADDRESS)), (size, inode), "VNC: screen and listening socket")
            t.measured(f"{size[0]}x{size[1]}")

    with test("who connects to the display meanwhile waits for the destination") as t:
        handoff = vm.begin_handoff("11.1.3", "--fault", "verify:after=kill-helper")
        handoff.wait_for("release")
        with contextlib.closing(connect(ADDRESS)) as waiting:
            handoff.end()
            expect_equal(picture(waiting), size, "size of the screen")
        vm.handoff("11.1.3").updated()
        traffic.check()

    with test("a helper that dies after the commit leaves nothing undone") as t:
        vm.handoff("11.1.3", "--fault", "retire:before=kill-helper").updated()
        expect_sets(vm, before, flags)
        expect_pidfile(vm)
        expect_equal((see(ADDRESS), listener(ADDRESS)), (size, inode), "VNC")
        traffic.check()
        traffic.finish()

with VM("10.0.13", "-vnc", f"unix:{VNC},password=on", "-device", "cirrus-vga,addr=0x6", spy=True) as vm:
    with test("a display with a password, on a unix socket") as t:
        with vm.spy() as spy:
            spy.command("set_password", protocol="vnc", password="secret")
        found = [f for f in vm.check().last["findings"] if f["id"] == "vnc" and f["severity"] == "warning"]
        expect(found and "set_password" in found[0]["remedy"], f"no warning of the password: {found}")
        vm.handoff().updated()
        with contextlib.closing(connect(str(VNC))) as viewer:
            expect_equal(list(greet(viewer)), [PASSWORD_AUTH], "ways to log in")
        t.measured(found[0]["what"])

with VM("10.0.2", "-vnc", "127.0.0.1:9,websocket=5809", "-device", "cirrus-vga,addr=0x6", vsock=True) as vm:
    with test("a websocket port is refused by name") as t:
        blockers = [f for f in vm.check().last["findings"] if f["severity"] == "blocker"]
        expect(any("websocket" in f["what"] for f in blockers), f"not refused: {blockers}")

end()
