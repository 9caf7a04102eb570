# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run of a lab machine: its process, its consoles, and what is left of it afterwards. uml.py and host.py have the
two kinds."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
import tty
from pathlib import Path

# What makes a line on the console the beginning of a kernel complaint.
SPLAT = re.compile(r"\b(BUG|WARNING|KASAN|UBSAN|KCSAN|Oops|Kernel panic|general protection fault)\b[:, ]"
                   r"|possible recursive locking|circular locking dependency|suspicious RCU usage"
                   r"|inconsistent lock state|INFO: (task .* blocked|rcu.*(stall|detected))"
                   r"|refcount_t: |list_(add|del) corruption|unreferenced object")
SPLAT_LINES = 60
GONE = re.compile(r"^reboot: (Power down|System halted|Restarting system)")


class Stopped(Exception):
    """A signal ended the run."""

    def __init__(self, number):
        super().__init__(number)
        self.signal = number


def die_with_parent():
    """Runs in the child: a lab that is killed must not leave its machine behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Relay(threading.Thread):
    """Copies what arrives on a pipe of the machine. Our own pipes are in between, because User-Mode Linux
    makes its descriptors non-blocking and those of our caller are not ours to change."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.source, self.machine_end = os.pipe()
        self.target = target

    def run(self):
        while data := os.read(self.source, 65536):
            self.forward(data)
        os.close(self.source)

    def forward(self, data):
        try:
            while data:
                data = data[os.write(self.target, data):]
        except BrokenPipeError:
            self.target = os.open(os.devnull, os.O_WRONLY)


class Console(threading.Thread):
    """Keeps the kernel's console in a file and shows the complaints in it, up to a line with a mark if it has one."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.source, self.machine_end = os.pipe()
        self.path = path
        self.splat = self.mark = None
        self.show = 0
        self.gone = threading.Event()

    def run(self):
        with open(self.source, "rb") as source, open(self.path, "wb", buffering=0) as log:
            for line in source:
                log.write(line)
                if self.mark and self.mark in line:
                    break
                self.examine(line.decode(errors="replace"))
        self.gone.set()

    def examine(self, line):
        if GONE.match(line):
            self.gone.set()
        if SPLAT.search(line):
            self.splat = self.splat or line.strip()
            self.show = SPLAT_LINES
        if self.show > 0:
            self.show -= 1
            sys.stderr.write(line)


class Machine:
    """What both kinds have in common. A kind says how it is started, and when its command has ended."""

    def __init__(self, source, guest, directory):
        self.source, self.guest, self.directory = source, guest, directory
        self.console = Console(directory / "console")
        self.threads = []
        self.interactive = False
        self.process = None

    @property
    def splat(self):
        return self.console.splat

    def prepare(self, command, environment):
        """Leaves in this run's directory what inside/command reads."""
        def terminated(strings):
            return b"".join(os.fsencode(s) + b"\0" for s in strings)

        self.interactive = command is None
        size = shutil.get_terminal_size()
        (self.directory / "argv").write_bytes(terminated(command or []))
        (self.directory / "environment").write_bytes(terminated(f"{k}={v}" for k, v in environment.items()))
        (self.directory / "size").write_text(f"{size.lines} {size.columns}\n")

    def start_process(self, command, fds, environment):
        """Starts it with these descriptors, which are then no longer ours, and copies what arrives at their other ends."""
        fds = [*fds, self.console.machine_end]
        self.process = subprocess.Popen([str(word) for word in command], pass_fds=fds, env=dict(os.environ, **environment),
                                        stdin=subprocess.DEVNULL, stdout=self.console.machine_end,
                                        stderr=self.console.machine_end, start_new_session=True,
                                        preexec_fn=die_with_parent)
        for fd in fds:
            os.close(fd)
        for thread in self.threads:
            thread.start()

    def type_keys(self):
        try:
            while data := os.read(sys.stdin.fileno(), 1024):
                os.write(self.keyboard, data)
        except OSError:
            pass  # The machine is gone.

    def kill(self):
        """The processes of the machine are in a PID namespace of their own, or inside of it: none survives this one."""
        self.process.kill()
        self.process.wait()

    def run(self, timeout):
        """Returns the exit status of the command, or None if the machine went down without one."""
        def stop(number, _frame):
            raise Stopped(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        terminal = None
        try:
            self.start()
            if self.interactive:
                if sys.stdin.isatty():
                    terminal = termios.tcgetattr(sys.stdin)
                    tty.setraw(sys.stdin)
                threading.Thread(target=self.type_keys, daemon=True).start()
            if not self.wait(timeout):
                print(f"lab: not finished after {timeout:g} s", file=sys.stderr)
        finally:
            if self.process:
                self.kill()
            if terminal:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, terminal)
        for thread in self.threads:
            thread.join(10)
        return self.status()

    def status(self):
        path = self.directory / "status"
        return int(path.read_text()) if path.exists() else None

    def console_tail(self):
        path = Path(self.directory / "console")
        lines = path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []
        return "".join(lines[-25:])
