# SPDX-License-Identifier: LGPL-2.1-or-later
"""QMP, for scenarios and for the lab itself."""

import json
import socket


class Qmp:
    """A QMP connection of our own. cprd wants the VM's socket for itself: close it before a handoff, or use a VM
    with a second one (VM(…, spy=True)). The timeout is only there so that what hangs ends."""

    def __init__(self, where, timeout=180):
        """where is a path, or a socket that is connected already."""
        self.socket = where if isinstance(where, socket.socket) else socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        if self.socket is not where:
            self.socket.connect(str(where))
        self.lines = self.socket.makefile("r")
        self.events = []
        self.greeting = self.read()
        self.command("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.lines.close()
        self.socket.close()

    def read(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionResetError("QMP connection closed")
        message = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message

    def command(self, name, /, **arguments):
        request = {"execute": name, "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self.read()
            if "error" in message:
                raise RuntimeError(f"{name}: {message['error']['desc']}")
            if "return" in message:
                return message["return"]

    def wait_event(self, name):
        while True:
            for event in self.events:
                if event["event"] == name:
                    self.events.remove(event)
                    return event
            self.read()


def event_usec(event):
    stamp = event["timestamp"]
    return stamp["seconds"] * 1000000 + stamp["microseconds"]
