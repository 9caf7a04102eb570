#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Traffic over AF_VSOCK with the lab's guest (tests/lab/guest/init.c), every byte of it checked. With an IP address
instead of a CID it is TCP, for all clients but the counter.

In a scenario:

    echo = traffic.Echo(cid, "stream").start()      # connects; raises OSError if it cannot
    …
    report = echo.stop()                            # finishes what is under way, disconnects

As a program:

    traffic.py [--cid N] [--seconds S] CLIENT[:TYPE]…     until S seconds passed, or SIGTERM, or SIGINT

CLIENT is echo, counter, sink, source, idle or blocks (of /dev/vda), TYPE is stream (default) or seqpacket. It prints the report of each as
a line of JSON and exits with 1 if any was not clean.

A report: client, type, bytes (checked), messages, resets (connections lost), reconnects, errors (texts), clean (no
reset and no error), longest_ms and what that is: for echo and idle the longest round trip, for the others the
longest time without progress. A client whose connection is lost connects again, so that what follows is seen too.
"""

import argparse
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
import zlib

TYPES = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET}
SEQPACKET_PORT_OFFSET = 1000
RETRY_SECONDS = 0.2


class Wrong(Exception):
    """The peer sent something other than it should have."""


class Client:
    """One kind of traffic on one connection at a time, in a thread of its own. A subclass has talk(), which returns
    when self.stopping is set and its work is at a good end, and raises OSError or Wrong when it is at a bad one."""

    name = ""
    port = 0
    longest_is = "longest time without progress"
    grace = 20  # seconds for what is under way when it is stopped

    def __init__(self, cid, type="stream", port=None):
        self.cid, self.type = cid, type
        self.port = port or self.port + (SEQPACKET_PORT_OFFSET if type == "seqpacket" else 0)
        self.stopping = threading.Event()
        self.wake = os.eventfd(0)
        self.bytes = self.messages = self.resets = self.reconnects = 0
        self.errors = []
        self.longest = 0.0
        self.last_progress = None
        self.socket = None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.socket = self.connect()
        self.last_progress = time.monotonic()
        self.thread.start()
        return self

    def stop(self):
        """Returns the report. What is not done after the grace, in seconds, is reported as stalled."""
        self.stopping.set()
        os.eventfd_write(self.wake, 1)
        self.thread.join(self.grace)
        if self.thread.is_alive():
            self.fail(f"stalled after {self.bytes} bytes: no progress for {self.idle_time():.1f} s")
            self.unblock()
            self.thread.join(self.grace)
        return self.report()

    def report(self):
        return {"client": self.name, "type": self.type, "cid": self.cid, "bytes": self.bytes,
                "messages": self.messages, "resets": self.resets, "reconnects": self.reconnects,
                "errors": list(self.errors), "clean": not self.resets and not self.errors,
                "longest_ms": round(self.longest * 1000, 1), "longest_is": self.longest_is}

    def connect(self):
        s = socket.socket(socket.AF_INET if isinstance(self.cid, str) else socket.AF_VSOCK, TYPES[self.type])
        if s.family == socket.AF_INET:  # Otherwise a load is seconds of data under way, behind which all others wait.
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        try:
            s.connect((self.cid, self.port))
        except OSError:
            s.close()
            raise
        return s

    def unblock(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # Already closed.

    def run(self):
        while True:
            try:
                with self.socket:
                    self.talk(self.socket)
                return
            except Wrong as e:
                self.fail(str(e))
                return
            except OSError as e:
                self.lost(e)
            if not self.connect_again():
                return

    def lost(self, error):
        if self.stopping.is_set() and self.errors:
            return  # Already given up.
        self.resets += 1
        self.fail(f"lost after {self.bytes} bytes: {error}")

    def connect_again(self):
        while not self.stopping.wait(RETRY_SECONDS):
            try:
                self.socket = self.connect()
            except OSError:
                continue
            self.reconnects += 1
            return True
        return False

    def fail(self, text):
        self.errors.append(text)

    def idle_time(self):
        return time.monotonic() - self.last_progress

    def progress(self, size):
        now = time.monotonic()
        self.longest = max(self.longest, now - self.last_progress)
        self.last_progress = now
        self.bytes += size
        self.messages += 1

    def receive(self, s, size):
        """Exactly size bytes; of a seqpacket connection, one message."""
        data = bytearray()
        while len(data) < size:
            piece = s.recv(65536 if self.type == "seqpacket" else size - len(data))
            if not piece:
                raise ConnectionResetError("closed by the peer")
            data += piece
            if self.type == "seqpacket":
                break
        if len(data) != size:
            raise Wrong(f"a message of {len(data)} instead of {size} bytes after {self.bytes} bytes")
        return bytes(data)

    def round_trip(self, s, data):
        start = time.monotonic()
        s.sendall(data)
        answer = self.receive(s, len(data))
        self.longest = max(self.longest, time.monotonic() - start)
        if answer != data:
            raise Wrong(f"another answer than expected after {self.bytes} bytes")
        self.last_progress = time.monotonic()
        self.bytes += len(data)
        self.messages += 1


class Echo(Client):
    """Sends numbered random messages, one at a time, and expects each back."""

    name = "echo"
    port = 1234
    longest_is = "longest round trip"

    def __init__(self, cid, type="stream", port=None, interval=0.005, largest=4096):
        super().__init__(cid, type, port)
        self.interval, self.largest = interval, largest
        self.random = random.Random(cid)

    def talk(self, s):
        while not self.stopping.is_set():
            message = struct.pack("<Q", self.messages) + self.random.randbytes(self.random.randrange(self.largest))
            self.round_trip(s, message)
            self.stopping.wait(self.interval)


class Idle(Client):
    """A connection that is silent from its first message to its last."""

    name = "idle"
    port = 1234
    longest_is = "longest round trip"

    def talk(self, s):
        self.round_trip(s, b"first")
        poll = select.poll()
        poll.register(s, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        for fd, _ in poll.poll():
            if fd == s.fileno():
                unexpected = s.recv(1)
                if unexpected:
                    raise Wrong("received something on the idle connection")
                raise ConnectionResetError("closed by the peer")
        self.round_trip(s, b"last")


class Sink(Client):
    """Loads the guest: sends as much as it takes, and checks the guest's receipt at the end."""

    name = "sink"
    port = 1235
    message = 16384

    def talk(self, s):
        pattern = random.Random(self.cid).randbytes(2 * self.message)
        sent = crc = 0
        while not self.stopping.is_set():
            start = sent % self.message
            data = pattern[start + 1:start + 1 + self.message - sent % 7]
            s.sendall(data)
            sent += len(data)
            crc = zlib.crc32(data, crc)
            self.progress(len(data))
        s.shutdown(socket.SHUT_WR)
        received, received_crc, _ = struct.unpack("<QII", self.receive(s, 16))
        if (received, received_crc) != (sent, crc):
            raise Wrong(f"the guest received {received} of {sent} bytes, CRC {received_crc:08x} instead of {crc:08x}")


class Source(Client):
    """Is loaded by the guest: checks number and CRC of each block."""

    name = "source"
    port = 1236
    block = 4096

    def talk(self, s):
        expected = 0
        while not self.stopping.is_set():
            data = self.receive(s, self.block)
            number, length, crc = struct.unpack_from("<QII", data)
            if number != expected:
                raise Wrong(f"block {number} instead of {expected}")
            if length != self.block - 16 or crc != zlib.crc32(data[16:], zlib.crc32(data[:12])):
                raise Wrong(f"block {number} is damaged")
            expected += 1
            self.progress(self.block)


class Blocks(Client):
    """Has the guest write one of its disks, and read it again, all the time (tests/lab/guest/blocks.c); what it finds is
    in its reports. stop() leaves the number of blocks written in `written`."""

    name = "blocks"
    port = 1237
    slots = 256
    block = 4096
    grace = 180  # The guest reads the whole disk in the end, which it does not report before it is through.

    def __init__(self, cid, type="stream", port=None, letter="a"):
        super().__init__(cid, type, port)
        self.letter, self.written = letter, 0

    def talk(self, s):
        s.sendall(self.letter.encode())
        is_last = False
        while not is_last:
            if self.stopping.is_set():
                s.shutdown(socket.SHUT_WR)
            written, wrong, is_last = struct.unpack("<QII", self.receive(s, 16))
            if wrong:
                raise Wrong(f"vd{self.letter}: {wrong} of {written} blocks lost")
            self.progress((written - self.written) * self.block)
            self.written = written

    def expected(self, slot):
        """What is in this slot of the disk in the end."""
        number = slot + (self.written - 1 - slot) // self.slots * self.slots
        x, words = (ord(self.letter) << 56 | number) + 1, []
        x = x * 0x9e3779b97f4a7c15 & 0xffffffffffffffff
        for _ in range((self.block - 16) // 8):
            x ^= x << 13 & 0xffffffffffffffff
            x ^= x >> 7
            x ^= x << 17 & 0xffffffffffffffff
            words.append(x)
        payload = struct.pack(f"<{len(words)}Q", *words)
        head = struct.pack("<QI", ord(self.letter) << 56 | number, len(payload))
        return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload

    def lost_blocks(self, read):
        """Slots that are not as the guest has left them; read(offset, size) reads its disk."""
        return [slot for slot in range(min(self.slots, self.written))
                if read(slot * self.block, self.block) != self.expected(slot)]


class Counter(Client):
    """Listens for the guest's counter and checks that no number is missing, doubled or out of order."""

    name = "counter"
    port = 5000

    def __init__(self, cid=None, type="stream", port=None):
        super().__init__(cid, type, port)
        self.listener = socket.socket(socket.AF_VSOCK, TYPES[type])
        self.listener.bind((socket.VMADDR_CID_ANY, self.port))
        self.listener.listen(8)

    def connect(self):
        """The guest's connection; of the guest with our CID if we have one."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        poll.register(self.wake, select.POLLIN)
        while True:
            if any(fd == self.wake for fd, _ in poll.poll(15000)) or not poll.poll(0):
                raise TimeoutError("the guest's counter did not connect")
            s, (cid, _) = self.listener.accept()
            if self.cid in (None, cid):
                return s
            s.close()

    def talk(self, s):
        expected = 0
        while not self.stopping.is_set():
            number, = struct.unpack("<Q", self.receive(s, 8))
            if number != expected:
                raise Wrong(f"number {number} instead of {expected}")
            expected += 1
            self.progress(8)

    def stop(self):
        report = super().stop()
        self.listener.close()
        return report


CLIENTS = {c.name: c for c in (Echo, Counter, Sink, Source, Idle, Blocks)}


def client_of(text, cid):
    name, _, type = text.partition(":")
    type = type or "stream"
    if name not in CLIENTS or type not in TYPES:
        sys.exit(f"traffic.py: {text}: not one of {', '.join(CLIENTS)}, with :{' or :'.join(TYPES)}")
    return CLIENTS[name](cid, type)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cid", type=int, default=3)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("client", nargs="+", metavar="CLIENT[:TYPE]")
    args = parser.parse_args()
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    clients = [client_of(text, args.cid) for text in args.client]
    for client in clients:
        client.start()
    signal.sigtimedwait(signals, args.seconds) if args.seconds else signal.sigwait(signals)
    reports = [client.stop() for client in clients]
    for report in reports:
        print(json.dumps(report), flush=True)
    return 0 if all(report["clean"] for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
