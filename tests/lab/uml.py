# SPDX-License-Identifier: LGPL-2.1-or-later
"""One boot of the lab: a User-Mode Linux process, its consoles, and what is left of it afterwards."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
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


def memory_directory(need):
    """User-Mode Linux keeps its memory in an unlinked file: on a tmpfs if one is large enough, as a container's
    /dev/shm often is not."""
    for directory in ("/dev/shm", "/tmp", "/var/tmp"):
        if os.access(directory, os.W_OK) and shutil.disk_usage(directory).free > need:
            return directory
    return "/tmp"


def bytes_of(text):
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    return int(text[:-1]) * units[text[-1].upper()] if text[-1:].upper() in units else int(text)


class Relay(threading.Thread):
    """Copies what arrives on a pipe of the machine. Our own pipes are in between, because User-Mode Linux
    makes its descriptors non-blocking and those of our caller are not ours to change."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.source, self.machine_end = os.pipe()
        self.target = target

    def run(self):
        while data := os.read(self.source, 65536):
            try:
                while data:
                    data = data[os.write(self.target, data):]
            except BrokenPipeError:
                self.target = os.open(os.devnull, os.O_WRONLY)
        os.close(self.source)


class Console(threading.Thread):
    """Keeps the kernel's console in a file and shows the complaints in it."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.source, self.machine_end = os.pipe()
        self.path = path
        self.splat = None
        self.show = 0
        self.gone = threading.Event()

    def run(self):
        with open(self.source, "rb") as source, open(self.path, "wb", buffering=0) as log:
            for line in source:
                log.write(line)
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
    def __init__(self, kernel, root, guest, source, directory, memory):
        self.kernel, self.root, self.guest, self.source = kernel, root, guest, source
        self.directory, self.memory = directory, memory
        self.console = Console(directory / "console")
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
        (self.directory / "uml").mkdir()

    def command_line(self, stdin, stdout, stderr):
        quiet = "null"
        return [Path(__file__).with_name("on-one-cpu"), "unshare", "--fork", "--pid", "--kill-child", str(self.kernel),
                f"mem={self.memory}", "ncpus=1", "seccomp=auto",
                "root=/dev/root", "rootfstype=hostfs", f"rootflags={self.root}", "ro", "init=/lab/init",
                f"lab_src={self.source}", f"lab_guest={self.guest}", f"lab_run={self.directory}",
                f"uml_dir={self.directory}/uml/", "umid=lab", "console=tty0", "systemd.show_status=0",
                f"con0=null,fd:{self.console.machine_end}", f"con1={stdin},fd:{stdout}",
                f"con2={quiet},fd:{stderr}", f"con={quiet}"]

    def start(self):
        out, err = Relay(sys.stdout.fileno()), Relay(sys.stderr.fileno())
        fds = [self.console.machine_end, out.machine_end, err.machine_end]
        stdin = "null"
        if self.interactive:
            keyboard, self.keyboard = os.pipe()
            fds.append(keyboard)
            stdin = f"fd:{keyboard}"
        environment = dict(os.environ, TMPDIR=memory_directory(bytes_of(self.memory)))
        self.process = subprocess.Popen(self.command_line(stdin, out.machine_end, err.machine_end), pass_fds=fds,
                                        env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.console.machine_end, stderr=self.console.machine_end,
                                        start_new_session=True, preexec_fn=die_with_parent)
        for fd in fds:
            os.close(fd)
        self.threads = [out, err, self.console]
        for thread in self.threads:
            thread.start()

    def type_keys(self):
        try:
            while data := os.read(sys.stdin.fileno(), 1024):
                os.write(self.keyboard, data)
        except OSError:
            pass  # The machine is gone.

    def wait(self, timeout):
        """User-Mode Linux often hangs in its own exit after saying that it is off, so that word is enough."""
        if not self.console.gone.wait(timeout):
            print(f"lab: not finished after {timeout:g} s", file=sys.stderr)

    def kill(self):
        """The processes of the machine are in a PID namespace of their own, so none survives this one."""
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
            self.wait(timeout)
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
