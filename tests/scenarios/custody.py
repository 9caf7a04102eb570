#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: --host trixie for check-matrix
# part of: check
# seconds: 60
"""Outside of a handoff cprd holds nothing of a VM: a QEMU that dies takes its device with it, and what happens to
cprd affects nobody else."""

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import time

import traffic
from faults import FLOW_SECONDS, MAX_PAUSE
from lab import VM, daemon_pid, devices_held, end, expect, expect_equal, test, wait_until

CONNECTIONS = 20
RESTARTS = 50
ALLOWED_SECONDS = 0.1
VHOST_VSOCK_SET_GUEST_CID = 0x4008AF60


def take_cid(cid):
    """The device that has the CID now; None while another one has it."""
    fd = os.open("/dev/vhost-vsock", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, struct.pack("<Q", cid))
        return fd
    except OSError:
        os.close(fd)
        return None


def connect(cid, number):
    s = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    s.settimeout(20)
    s.connect((cid, traffic.Echo.port))
    s.sendall(bytes([number]))
    expect_equal(s.recv(1), bytes([number]), "echo")
    return s


def error_of(s):
    """What a program that waits for data gets."""
    try:
        s.settimeout(5)
        return f"{len(s.recv(1))} bytes"
    except OSError as e:
        return e


def kill_with_connections(t, vm):
    peers = [connect(vm.cid, number) for number in range(CONNECTIONS)]
    poll = select.epoll()
    for peer in peers:
        poll.register(peer, select.EPOLLIN)
    pidfd = os.pidfd_open(vm.pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    # Counted from its end: how long a process takes to die is up to the kernel.
    select.select([pidfd], [], [], 20)
    ended = time.monotonic()
    expect(wait_until(lambda: len(poll.poll(0)) == CONNECTIONS), "not all peers have been told")
    told = time.monotonic() - ended
    while (device := take_cid(vm.cid)) is None and time.monotonic() < ended + 10:
        time.sleep(0.001)
    free = time.monotonic() - ended
    errors = [error_of(peer) for peer in peers]
    expect(all(isinstance(e, ConnectionResetError) for e in errors), f"peers got {errors}")
    expect(device is not None, "the CID stays taken")
    os.close(device)
    os.close(pidfd)
    for peer in peers:
        peer.close()
    expect(max(told, free) <= ALLOWED_SECONDS, f"told after {told * 1000:.0f} ms, CID free after {free * 1000:.0f} ms")
    t.measured(f"{CONNECTIONS} peers told after {told * 1000:.0f} ms", f"CID free after {free * 1000:.0f} ms")


with contextlib.ExitStack() as stack:
    with test("a QEMU killed: peers get ECONNRESET, its CID is free") as t, VM("11.1.3") as vm:
        kill_with_connections(t, vm)
        expect(wait_until(lambda: vm.describe()["state"] == "gone"), "cprd did not notice")

    with test("the same after a handoff, whose custody is over") as t, VM("11.1.3") as vm:
        vm.handoff("11.1.3", "--max-pause", MAX_PAUSE).updated()
        kill_with_connections(t, vm)

    vm = stack.enter_context(VM("11.1.3"))
    load = stack.enter_context(vm.traffic("echo", "counter", "source"))
    with test(f"cprd restarted {RESTARTS} times: nobody notices") as t:
        for number in range(RESTARTS):
            subprocess.run(["systemctl", "restart", "cprd.service"], check=True)
            expect_equal(devices_held(daemon_pid()), 0, "devices in cprd")
        load.check(FLOW_SECONDS)
        expect_equal(vm.processes(), [vm.pid], "QEMUs")
        expect_equal(vm.resets(), [], "resets in the guest's log")
        t.measured(f"longest echo {load.longest('echo') * 1000:.0f} ms")

    with test("cprd killed and stopped: nobody notices") as t:
        subprocess.run(["systemctl", "kill", "--signal=KILL", "cprd.service"], check=True)
        load.check(FLOW_SECONDS)
        wait_until(daemon_pid)
        subprocess.run(["systemctl", "stop", "cprd.service"], check=True)
        time.sleep(1)
        load.check(FLOW_SECONDS)
        subprocess.run(["systemctl", "start", "cprd.service"], check=True)
        expect_equal(vm.describe()["state"], "running", "state of the VM")
        t.measured(f"{load.bytes()} bytes")

    with test("the next handoff, and no byte lost, doubled or out of order"):
        vm.handoff("11.1.3", "--max-pause", MAX_PAUSE).updated()
        load.check(FLOW_SECONDS)
        load.finish()
end()
