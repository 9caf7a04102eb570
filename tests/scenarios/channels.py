#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check
# seconds: 200
"""Clients of a serial console and of an agent's channel keep their connections, and check every byte, while their VM
is handed off and rolled back under load. The guest echoes both.

  channels.py [all]     all: more handoffs, each way back, each death of the helper
"""

import socket
import sys
import threading
import time

from lab import VM, end, expect, expect_equal, test, wait_until

CONSOLE, AGENT = "/run/lab/console", "/run/lab/agent"
ALL = sys.argv[1:] == ["all"]
QEMUS = ["10.0.2", "11.1.3", "11.1.3", "11.1.3"] if ALL else ["10.0.2", "11.1.3"]
# Ways back, also by the death of a process.
BACK = ["load:after=fail", "claim:after=kill-destination"] + ALL * [
    "match:after=fail", "load:before=fail", "release:after=fail", "claim:after=fail", "verify:after=fail", "commit:before=fail",
    "load:after=kill-helper", "claim:after=kill-helper"]
FORWARD = ["commit:after=kill-helper"] + ALL * ["retire:before=kill-helper"]


def pattern(begin, end):
    """The bytes of the stream from one position to another; each depends on its position, far beyond a period of 256."""
    return bytes((i * 167 + (i >> 8) * 13 + (i >> 16)) & 0xff for i in range(begin, end))


class Client(threading.Thread):
    """Sends the pattern, at most @window bytes ahead of what has come back, and compares."""

    def __init__(self, path, window):
        super().__init__(daemon=True)
        self.path, self.window = path, window
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(0.05)
        self.sent = self.received = 0
        self.problem = None
        self.reading = True
        self.stopped = False
        self.start()

    def send(self):
        n = min(256, self.window - (self.sent - self.received))
        if n > 0:
            self.sent += self.socket.send(pattern(self.sent, self.sent + n))

    def receive(self):
        data = self.socket.recv(4096)
        if not data:
            self.problem = f"closed after {self.received} bytes"
        elif data != pattern(self.received, self.received + len(data)):
            self.problem = f"other bytes than were sent, from byte {self.received} of {self.sent} on: {data[:40]!r}"
        self.received += len(data)

    def run(self):
        while not self.problem and not self.stopped:
            for step in (self.send, *[self.receive] * self.reading):
                try:
                    step()
                except TimeoutError:
                    pass
                except OSError as e:
                    self.problem = str(e)
            if not self.reading:
                time.sleep(0.01)

    def check(self, seconds=60):
        """So far every byte was right, and more of them come."""
        before = self.received
        wait_until(lambda: self.problem or self.received > before + self.window, seconds)
        expect(not self.problem, f"{self.path}: {self.problem}")
        expect(self.received > before + self.window, f"{self.path} stands still after {self.received} bytes")

    def finish(self):
        """All that was sent has come back."""
        self.window = 0
        wait_until(lambda: self.problem or self.received == self.sent, 60)
        expect(not self.problem, f"{self.path}: {self.problem}")
        expect_equal(self.received, self.sent, f"bytes that came back over {self.path}")
        self.stopped = True
        self.join()
        self.socket.close()
        return self.received


def cut(record):
    return [f["what"] for f in record["findings"] if f["id"] == "cut" and f["severity"] == "warning"]


OPTIONS = ["--append", "lab.channels", "-chardev", f"socket,id=con1,path={CONSOLE},server=on,wait=off",
           "-device", "isa-serial,chardev=con1,index=1,id=uart1", "-device", "virtio-serial-pci,id=vs0,addr=0x6",
           "-chardev", f"socket,id=agent,path={AGENT},server=on,wait=off",
           "-device", "virtserialport,bus=vs0.0,nr=1,chardev=agent,name=org.qemu.guest_agent.0"]
with VM("10.0.2", *OPTIONS) as vm, vm.traffic("echo") as traffic:
    expect(wait_until(lambda: vm.serial().count("channel /dev/") == 2, 120), "the guest has no channels")
    clients = [Client(CONSOLE, 256), Client(AGENT, 65536)]

    with test("clients that are busy") as t:
        for client in clients:
            client.check()
        t.measured(*[f"{c.received} bytes" for c in clients])

    for qemu in QEMUS:
        with test(f"no byte is lost or doubled, to {qemu}") as t:
            record = vm.handoff(qemu).updated()
            expect_equal(cut(record), [], "what is said to be cut")
            for client in clients:
                client.check()
            traffic.check()
            t.measured(*[f"{c.received} bytes" for c in clients])

    for fault in BACK:
        with test(f"nor on a way back: {fault}"):
            vm.handoff("11.1.3", "--fault", fault).still_on_source()
            for client in clients:
                client.check()

    for fault in FORWARD:
        with test(f"nor if the helper dies after the commit: {fault}"):
            vm.handoff("11.1.3", "--fault", fault).updated()
            for client in clients:
                client.check()

    with test("clients that do not read get it all later") as t:
        for client in clients:
            client.window = 1 << 20
            client.reading = False
        time.sleep(2)
        vm.handoff("11.1.3", "--fault", "claim:after=fail").still_on_source()
        vm.handoff("11.1.3").updated()
        ahead = [c.sent - c.received for c in clients]
        for client, window in zip(clients, (256, 65536)):
            client.reading = True
            client.window = window
        for client in clients:
            wait_until(lambda: client.problem or client.sent - client.received < client.window, 120)
            client.check()
        t.measured(*[f"{n} bytes behind" for n in ahead])

    with test("a client that leaves, and another that comes") as t:
        clients[1].finish()
        vm.handoff("11.1.3").updated()
        clients[1] = Client(AGENT, 65536)
        for client in clients:
            client.check()
        vm.handoff("11.1.3").updated()
        for client in clients:
            client.check()

    with test("every byte has come back") as t:
        t.measured(*[f"{c.finish()} bytes" for c in clients])
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")

end()
