# SPDX-License-Identifier: LGPL-2.1-or-later
"""A User-Mode Linux: a lab machine that is one process with one CPU, booted for each run."""

import os
import shutil
import sys
from pathlib import Path

import machine

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


class Machine(machine.Machine):
    def __init__(self, kernel, root, guest, source, directory, memory):
        super().__init__(source, guest, directory)
        self.kernel, self.root, self.memory = kernel, root, memory

    def command_line(self, stdin, stdout, stderr):
        quiet = "null"
        uml_directory = self.directory / "uml"
        uml_directory.mkdir()
        return [Path(__file__).with_name("on-one-cpu"), "unshare", "--fork", "--pid", "--kill-child", self.kernel,
                f"mem={self.memory}", "ncpus=1", "seccomp=auto",
                "root=/dev/root", "rootfstype=hostfs", f"rootflags={self.root}", "ro", "init=/lab/init",
                f"lab_src={self.source}", f"lab_guest={self.guest}", f"lab_run={self.directory}",
                f"uml_dir={uml_directory}/", "umid=lab", "console=tty0", "systemd.show_status=0",
                f"con0=null,fd:{self.console.machine_end}", f"con1={stdin},fd:{stdout}",
                f"con2={quiet},fd:{stderr}", f"con={quiet}"]

    def start(self):
        out, err = machine.Relay(sys.stdout.fileno()), machine.Relay(sys.stderr.fileno())
        fds = [out.machine_end, err.machine_end]
        stdin = "null"
        if self.interactive:
            keyboard, self.keyboard = os.pipe()
            fds.append(keyboard)
            stdin = f"fd:{keyboard}"
        self.threads = [out, err, self.console]
        self.start_process(self.command_line(stdin, out.machine_end, err.machine_end), fds,
                           {"TMPDIR": memory_directory(bytes_of(self.memory))})

    def wait(self, timeout):
        """User-Mode Linux often hangs in its own exit after saying that it is off, so that word is enough."""
        return self.console.gone.wait(timeout)
