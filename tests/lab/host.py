# SPDX-License-Identifier: LGPL-2.1-or-later
"""A KVM host: Debian with its own kernel, in a QEMU that has nested KVM to give, or emulates it. It boots once, when it is
made; each run continues from the state that was saved then, on a disk whose changes are thrown away."""

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "scenarios"))

import machine  # noqa: E402
from qmp import Qmp  # noqa: E402

QEMU = "11.1.3"
# TCG emulates AMD's SVM with nested paging; its threads need not agree with each other on how fast time goes.
ACCELERATORS = {"tcg": ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "max,+svm,+npt"],
                "kvm": ["-accel", "kvm", "-cpu", "host"]}
BOOT_SECONDS = 600  # Only so that what hangs ends.
KVM_GET_SUPPORTED_CPUID = 0xC008AE05


def supported_cpuid(kvm):
    """What a guest of this KVM may have: {leaf: ecx}."""
    room = 256
    entries = bytearray(struct.pack("II", room, 0) + bytes(40 * room))
    fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, entries)
    count, _ = struct.unpack_from("II", entries)
    rows = (struct.unpack_from("7I", entries, 8 + 40 * i) for i in range(count))
    return {row[0]: row[5] for row in rows}


def accelerator():
    """KVM if it gives a guest the means for a KVM of its own (VMX or SVM), else emulation."""
    with contextlib.suppress(OSError), open("/dev/kvm", "rb+", buffering=0) as kvm:
        ecx = supported_cpuid(kvm)
        if ecx.get(0x1, 0) >> 5 & 1 or ecx.get(0x80000001, 0) >> 2 & 1:
            return "kvm"
    return "tcg"


def qemu_of(root):
    """The command and the environment that run the QEMU of the lab's root on this machine: by that root's own dynamic
    linker, with its libraries."""
    prefix = root / "opt/qemu" / QEMU
    return [root / "lib64/ld-linux-x86-64.so.2", "--library-path", root / "usr/lib/x86_64-linux-gnu",
            prefix / "bin/qemu-system-x86_64", "-L", root / "usr/share/qemu", "-L", root / "usr/share/seabios"], {
            "QEMU_MODULE_DIR": str(prefix / "lib/x86_64-linux-gnu/qemu")}


def machine_options():
    lines = (HERE / "host.d/machine").read_text().splitlines()
    return [word for line in lines if not line.startswith("#") for word in shlex.split(line)]


class Relay(machine.Relay):
    """Ends at a mark, which is the last that is written."""

    def __init__(self, target, mark):
        super().__init__(target)
        self.mark = mark

    def run(self):
        held = b""
        while not held.endswith(self.mark) and (data := os.read(self.source, 65536)):
            held += data
            # What may be the beginning of the mark waits for its end.
            keep = next(n for n in range(len(self.mark), -1, -1) if held.endswith(self.mark[:n]))
            self.forward(held[:len(held) - keep])
            held = held[len(held) - keep:]


class Machine(machine.Machine):
    """disk is a directory of host-disk; out and err are where the command's output goes."""

    def __init__(self, root, disk, accelerator, source, guest, directory):
        super().__init__(source, guest, directory)
        self.root, self.disk, self.accelerator = root, disk, accelerator
        self.fds = []
        self.mark = secrets.token_hex(16)
        self.console.mark = self.mark.encode()

    def prepare(self, command, environment):
        super().prepare(command, environment)
        (self.directory / "mark").write_text(self.mark)

    def add_packages(self, packages):
        """To be installed before the command runs."""
        (self.directory / "packages").mkdir()
        for package in packages:
            shutil.copy(package, self.directory / "packages")

    # ---- the machine as QEMU is told ----

    def channel(self, name):
        """A connection with the machine that exists before it: (our end, QEMU's options)."""
        ours, theirs = socket.socketpair()
        self.fds.append(theirs.detach())
        return ours, ["-chardev", f"socket,id={name},fd={self.fds[-1]}"]

    def pipe(self, number, fd):
        """The path by which QEMU opens this descriptor of ours, and the option that tells of it."""
        self.fds.append(fd)
        return f"/dev/fdset/{number}", ["-add-fd", f"fd={fd},set={number}"]

    def output(self, name, number, target):
        relay = Relay(target, b"\0" + self.mark.encode())
        self.threads.append(relay)
        path, option = self.pipe(number, relay.machine_end)
        return path, option + ["-chardev", f"file,id={name},path={path},append=on"]

    def terminal(self, path):
        """For a shell: the keyboard, and the pipe of the output, which the port gives up."""
        if not self.interactive:
            return ["-chardev", "null,id=terminal"]
        keyboard, self.keyboard = os.pipe()
        keys, option = self.pipe(3, keyboard)
        return option + ["-chardev", f"file,id=terminal,path={path},append=on,input-path={keys}"]

    def shares(self):
        options = []
        for tag, path, mode in (("src", self.source, "on"), ("guest", self.guest, "on"), ("run", self.directory, "off")):
            options += ["-fsdev", f"local,id={tag},path={path},security_model=none,readonly={mode}"]
        return options

    def command_line(self, more):
        self.control, control = self.channel("control")
        self.monitor, monitor = self.channel("monitor")
        path, out = self.output("out", 1, sys.stdout.fileno())
        _, err = self.output("err", 2, sys.stderr.fileno())
        qemu, environment = qemu_of(self.root)
        return qemu + ACCELERATORS[self.accelerator] + machine_options() + [
            "-kernel", self.disk / "vmlinuz", "-initrd", self.disk / "initrd",
            "-chardev", "stdio,id=console,signal=off", *control, *monitor, "-qmp", "chardev:monitor",
            *out, *err, *self.terminal(path), *more], environment

    def drive(self, more=""):
        return ["-drive", f"file={self.disk}/disk,format=raw,if=none,id=disk,cache=unsafe{more}"]

    # ---- a run ----

    def start(self):
        """From the saved state. What is written to the disk goes into an unlinked file of this run's directory."""
        command, environment = self.command_line([*self.drive(",snapshot=on"), *self.shares(),
                                                  "-incoming", "defer"])
        self.threads.append(self.console)
        self.start_process(command, self.fds, dict(environment, TMPDIR=str(self.directory)))
        self.restore()

    def restore(self):
        """If the machine dies meanwhile, wait() will see it."""
        with contextlib.suppress(ConnectionError):
            qmp = Qmp(self.monitor)
            use_mapped_ram(qmp)
            qmp.command("migrate-incoming", uri=f"file:{self.disk}/state")
            qmp.wait_event("RESUME")
            for tag in ("src", "guest", "run"):
                plug_in(qmp, f"virtio-9p-pci,fsdev={tag},mount_tag={tag}")
            self.control.sendall(f"{time.time():.6f}\n".encode())

    def wait(self, timeout):
        """The output and the console end with the mark, or with the machine."""
        end = time.monotonic() + timeout if timeout else None
        for thread in self.threads:
            thread.join(end and max(0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self.threads)

    # ---- making the state ----

    def save(self):
        """Boots from the disk itself, and leaves the state beside it."""
        command, environment = self.command_line(self.drive())
        self.threads.append(self.console)
        self.start_process(command, self.fds, environment)
        try:
            self.wait_ready()
            qmp = Qmp(self.monitor)
            use_mapped_ram(qmp)
            qmp.command("migrate", uri=f"file:{self.disk}/state.new")
            while (status := qmp.command("query-migrate")["status"]) not in ("completed", "failed"):
                time.sleep(0.05)
            if status == "failed":
                raise RuntimeError(f"saving the state: {qmp.command('query-migrate')}")
            qmp.command("quit")
            self.process.wait()
        finally:
            self.kill()
        os.rename(self.disk / "state.new", self.disk / "state")

    def wait_ready(self):
        self.control.settimeout(BOOT_SECONDS)
        try:
            said = self.control.recv(16)
        except TimeoutError:
            said = b""
        if said != b"ready\n":
            raise RuntimeError(f"it did not boot; its console ends:\n{self.console_tail()}")


def use_mapped_ram(qmp):
    """A file with a place for each page: pages that are not used are holes in it."""
    qmp.command("migrate-set-capabilities", capabilities=[{"capability": "mapped-ram", "state": True}])


def plug_in(qmp, device):
    problem = qmp.command("human-monitor-command", command_line=f"device_add {device}")
    if problem:
        raise RuntimeError(f"{device}: {problem}")


def checksums(directory):
    """{file name: checksum} as host-disk left them."""
    lines = (directory / "installed").read_text().splitlines()
    return {name: checksum for checksum, name in (line.split() for line in lines)}


def packages_to_install(disk, directory):
    """Those of this tree that differ from what is on the disk."""
    installed = checksums(disk)
    names = sorted([*directory.glob("cprd_*.deb"), *directory.glob("libcprd0_*.deb")])
    sums = subprocess.run(["sha256sum", *names], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return [name for name, line in zip(names, sums) if installed.get(name.name) != line.split()[0]]
