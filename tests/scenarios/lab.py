# SPDX-License-Identifier: LGPL-2.1-or-later
"""The library for scenarios: VMs of the lab, cprd as an operator and a program use it, and checks.

A scenario is a program in this directory, run as root in the lab (tests/lab/lab run). Its header says how:

    # lab: -k 7.3 --no-reclaim      the machine it wants; a line for each if it is to run on several (default: -k 7.3)
    # lab: --host trixie            the KVM host
    # lab: -k 6.12 for check-matrix the same, by these targets only
    # part of: check                the make targets that run it: check, check-matrix, bench, demo
    # seconds: 40                   about how long it takes, for sharing the work out and for its limit

and its text reads from top to bottom: start VMs, then one `with test("name") as t:` for each promise.

    with VM("10.0.2") as vm, vm.traffic("echo", "counter") as traffic:
        with test("10.0.2 to 11.1.3") as t:
            record = vm.handoff("11.1.3").updated()
            traffic.check()
            t.measured(pause_of(record))

Each test prints a line, `ok NAME: what was measured` or `not ok NAME: why`, and ends with a look for what a handoff
must not leave behind. A test that fails does not stop the file; its exit status tells.
"""

import contextlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import traffic
from qmp import Qmp, event_usec  # noqa: F401 (scenarios take them from here)

HANDOFFS = Path("/run/cprd/handoffs")
SETTLE_SECONDS = 5
BOOT_SECONDS = 400  # of a guest: only so that what hangs ends
# All failures were reported as tests; another status means that the scenario did not finish.
EXIT_TESTS_FAILED = 2
EXIT_UPDATED, EXIT_REFUSED, EXIT_STILL_ON_SOURCE, EXIT_NEEDS_OPERATOR = range(4)

numbers = itertools.count(100)
failed = False


def binary(qemu):
    """The path of a version, or the path itself."""
    return qemu if "/" in qemu else f"/opt/qemu/{qemu}/bin/qemu-system-x86_64"


def milliseconds(usec):
    return "?" if usec is None else f"{usec / 1000:.0f} ms"


def pause_of(record):
    return f"pause {milliseconds(record.get('pause'))}"


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def expect_equal(got, wanted, what):
    expect(got == wanted, f"{what}: {got!r} instead of {wanted!r}")


def wait_until(condition, seconds=SETTLE_SECONDS):
    """For conditions without an event to wait for. Returns the last value of the condition."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return value


# ---- processes ----

def read_process(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


TRAITS = ("Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
          "Cpus_allowed")


def traits(pid):
    """What a destination has from its source: credentials, limits, place in the system."""
    status = dict(line.split(":", 1) for line in read_process(pid, "status").splitlines())
    return {name: status.get(name, "").strip() for name in TRAITS} | {
        name: read_process(pid, name) for name in ("limits", "cgroup", "oom_score_adj", "environ")} | {
        f"{name} namespace": os.readlink(f"/proc/{pid}/ns/{name}") for name in os.listdir(f"/proc/{pid}/ns")} | {
        "working directory": os.readlink(f"/proc/{pid}/cwd"),
        "locked memory": status["VmLck"].split()[0] != "0"}


def process_ids():
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]


def processes_named(comm):
    """comm, truncated as the kernel does."""
    return [pid for pid in process_ids() if read_process(pid, "comm").strip() == comm[:15]]


def traced_processes():
    return [pid for pid in process_ids() if re.search(r"^TracerPid:\t[1-9]", read_process(pid, "status"), re.M)]


def daemon_pid():
    return int(subprocess.run(["systemctl", "show", "-P", "MainPID", "cprd.service"], check=True,
                              capture_output=True, text=True).stdout)


def helper_pids():
    return processes_named("cprd-handoff")


def open_files(pid):
    """How many descriptors of each kind: sockets, pidfds, … ; those that belong to an event loop are left out."""
    kinds = Counter()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            kind = re.sub(r"\d+", "N", os.readlink(fd))
            if "timerfd" not in kind and "eventpoll" not in kind and "signalfd" not in kind:
                kinds[kind] += 1
    return kinds


def devices_held(pid):
    return open_files(pid)["/dev/vhost-vsock"]


# ---- tests ----

class Leftovers:
    """What a handoff must not leave behind. Taken before, compared after; slow things get time to go."""

    # Connections that a cprd makes once, when it first needs them: to systemd and to the journal.
    LAZY = 2
    lazy = {}

    def __init__(self):
        self.daemon = daemon_pid()
        self.files = open_files(self.daemon) if self.daemon else Counter()
        self.lazy.setdefault(self.daemon, self.LAZY)

    def leaked(self):
        more = open_files(self.daemon) - self.files
        more["socket:[N]"] -= self.lazy[self.daemon]
        return +more

    def settle(self):
        """What was taken from the allowance cannot be used again."""
        if self.daemon and self.daemon == daemon_pid():
            new = (open_files(self.daemon) - self.files)["socket:[N]"]
            self.lazy[self.daemon] = max(0, self.lazy[self.daemon] - new)

    def list(self):
        found = []
        if helpers := helper_pids():
            found.append(f"cprd-handoff still runs: {helpers}")
        if traced := traced_processes():
            found.append(f"processes still traced: {traced}")
        if files := [p.name for p in HANDOFFS.iterdir()] if HANDOFFS.exists() else []:
            found.append(f"left in {HANDOFFS}: {files}")
        daemon = daemon_pid()
        if daemon and daemon == self.daemon and (more := self.leaked()):
            found.append(f"descriptors leaked in cprd: {dict(more)}")
        if daemon and devices_held(daemon):
            found.append("cprd still has custody of a device")
        return found

    def check(self):
        wait_until(lambda: not self.list())
        found = self.list()
        self.settle()
        expect(not found, "; ".join(found))


class Test:
    def __init__(self):
        self.text = ""

    def measured(self, *texts):
        self.text = ", ".join(filter(None, (self.text, *texts)))


def report(word, name, text):
    print(f"{word} {name}: {' / '.join(text.split(chr(10)))}" if text else f"{word} {name}", flush=True)


@contextlib.contextmanager
def test(name):
    """One promise, kept or not. What happens in it beyond a failed expectation is printed before its line."""
    global failed
    t = Test()
    leftovers = Leftovers()
    try:
        yield t
        leftovers.check()
    except AssertionError as e:
        failed = True
        report("not ok", name, str(e) or traceback.format_exc(limit=-1))
    except Exception as e:
        failed = True
        traceback.print_exc(file=sys.stdout)
        report("not ok", name, f"{type(e).__name__}: {e}")
    else:
        report("ok", name, t.text)


def end():
    """At the end of each scenario."""
    sys.exit(EXIT_TESTS_FAILED if failed else 0)


# ---- cprd ----

class Result:
    """How a call of cprctl ended: status, the JSON objects it printed, what it said on stderr."""

    def __init__(self, process):
        out, self.errors = process.communicate()
        self.status = process.returncode
        self.replies = [json.loads(line) for line in out.splitlines() if line.strip()]

    @property
    def last(self):
        return self.replies[-1] if self.replies else {}

    @property
    def record(self):
        return self.last.get("record") or {}

    @property
    def error(self):
        """The name of the Varlink error that a call ended with."""
        return self.last.get("error")

    @property
    def details(self):
        """What that error says."""
        return self.last.get("parameters") or {}

    def said(self):
        """Everything that an operator could read of it."""
        return json.dumps(self.replies[-3:]) + self.errors

    def updated(self):
        """The record of a handoff that must have gone well, without the loss of a connection."""
        expect_equal(self.status, EXIT_UPDATED, f"exit status ({self.why()})")
        expect_equal(self.record["outcome"], "updated", "outcome")
        expect_equal(self.record.get("lost"), 0, "connections lost by the host's list")
        return self.record

    def still_on_source(self):
        expect_equal(self.status, EXIT_STILL_ON_SOURCE, f"exit status ({self.why()})")
        expect_equal(self.record["outcome"], "still_on_source", "outcome")
        return self.record

    def why(self):
        return self.record.get("reason") or self.errors.strip() or "no reason given"


def start_cprctl(*arguments):
    return subprocess.Popen(["cprctl", "--json", *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def cprctl(*arguments):
    return Result(start_cprctl(*arguments))


class Handoff:
    """A handoff under way; its progress can be waited for."""

    def __init__(self, *arguments):
        self.process = start_cprctl("handoff", *arguments)
        self.seen = []

    def wait_for(self, stage, event="begin"):
        for line in self.process.stdout:
            self.seen.append(line)
            progress = json.loads(line).get("progress") or {}
            if (progress.get("stage"), progress.get("event")) == (stage, event):
                return
        last = json.loads(self.seen[-1]) if self.seen else {}
        why = (last.get("record") or {}).get("reason") or last.get("error") or "no reason given"
        raise AssertionError(f"the handoff ended without {stage}: {why}")

    def end(self):
        result = Result(self.process)
        result.replies = [json.loads(line) for line in self.seen if line.strip()] + result.replies
        return result


# ---- VMs ----

class Traffic:
    """Clients of traffic.py, all running."""

    def __init__(self, vm, kinds):
        self.clients = []
        for kind in kinds:
            name, _, type = kind.partition(":")
            self.clients.append(traffic.CLIENTS[name](vm.cid, type or "stream").start())
        self.reports = []

    def check(self, seconds=SETTLE_SECONDS):
        """So far nothing was lost, doubled or out of order, and data still flows."""
        moving = [c for c in self.clients if c.name != "idle"]
        before = [c.bytes for c in moving]
        wait_until(lambda: all(c.bytes > b for c, b in zip(moving, before)), seconds)
        for client, bytes in zip(moving, before):
            expect(client.bytes > bytes, f"{client.name} ({client.type}) stands still after {client.bytes} bytes")
        for client in self.clients:
            expect(not client.errors and not client.resets, f"{client.name} ({client.type}): {client.errors}")

    def longest(self, name):
        return max(c.longest for c in self.clients if c.name == name)

    def reset_longest(self):
        for client in self.clients:
            client.longest = 0.0

    def bytes(self):
        return sum(c.bytes for c in self.clients)

    def stop(self):
        if not self.reports:
            self.reports = [c.stop() for c in self.clients]
        return self.reports

    def finish(self):
        """The final account: every byte, on the guest's side too."""
        for r in self.stop():
            expect(r["clean"], f"{r['client']} ({r['type']}): {'; '.join(r['errors'])}")


class VM:
    """A running VM with a guest that is ready, registered with cprd; ended with the `with` block."""

    def __init__(self, qemu, *options, register=True, spy=False, cid=None, vsock=True, name=None):
        number = next(numbers)
        self.name = name or f"vm{number}"
        self.cid = None if not vsock else cid or number
        self.directory = Path("/run/lab") / self.name
        self.spy_path = self.directory / "spy" if spy else None
        arguments = ["--cid", str(self.cid)] if vsock else ["--no-vsock"]
        if spy:
            arguments += ["-qmp", f"unix:{self.spy_path},server=on,wait=off"]
        started = subprocess.run(["/lab/bin/start-vm", self.name, "--qemu", qemu, "--timeout", str(BOOT_SECONDS),
                                  *options, *arguments],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        expect(started.returncode == 0, f"start-vm: {started.stderr}")
        line = json.loads(started.stdout)
        self.first_pid = self.pid = line["pid"]
        self.qmp_path = line["qmp"]
        self.traits = traits(self.pid)
        # If its guest has not started, a QEMU may not have got that far.
        expect(wait_until(lambda: Path(self.qmp_path).exists(), 30), f"{self.name} has no QMP socket")
        if register:
            self.register()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def register(self, pid=None, qmp=None):
        result = cprctl("register", self.name, "--pid", pid or self.pid, "--qmp", qmp or self.qmp_path)
        expect(result.status == 0, f"register: {result.errors}")

    def unregister(self):
        return cprctl("unregister", self.name)

    def describe(self):
        return cprctl("show", self.name).last["vm"]

    def processes(self):
        """The QEMUs that run this guest."""
        wanted = f"-name\0{self.name}\0"
        return [pid for pid in process_ids() if wanted in read_process(pid, "cmdline") and
                read_process(pid, "comm").startswith("qemu-system")]

    def handoff(self, qemu=None, *options):
        """Without cprd's default budget for the pause, which a busy machine's lab can use up."""
        result = cprctl("handoff", self.name, *self.destination(qemu), "--max-pause", "20s", *options)
        self.note(result)
        return result

    def note(self, result):
        """Checks where the VM is after a handoff, and that it exists once."""
        if result.record.get("outcome") == "updated":
            self.pid = result.record["destination"]["pid"]
            self.check_traits()
        wait_until(lambda: self.processes() == [self.pid])
        expect_equal(self.processes(), [self.pid], f"QEMUs of {self.name}")

    def check_traits(self):
        for name, value in traits(self.pid).items():
            expect_equal(value, self.traits[name], f"{name} of process {self.pid}")

    def begin_handoff(self, qemu=None, *options):
        return Handoff(self.name, *self.destination(qemu), "--max-pause", "20s", *options)

    def destination(self, qemu):
        return ["--qemu", binary(qemu)] if qemu else []

    def check(self, qemu=None):
        return cprctl("check", self.name, *self.destination(qemu))

    def qmp(self):
        return Qmp(self.qmp_path)

    def spy(self):
        return Qmp(self.spy_path)

    def version(self):
        """What the QEMU at the VM's QMP path says it is."""
        with self.qmp() as qmp:
            version = qmp.greeting["QMP"]["version"]["qemu"]
        return f"{version['major']}.{version['minor']}.{version['micro']}"

    def run_state(self):
        with self.qmp() as qmp:
            return qmp.command("query-status")["status"]

    def serial(self):
        return (self.directory / "serial").read_text(errors="replace")

    def resets(self):
        """What the guest says of lost connections or of a second start."""
        lines = self.serial().splitlines()
        return [line for line in lines if "lost" in line] + lines[1:] * (lines.count("GUEST READY") > 1)

    def files(self):
        return {p.name for p in self.directory.iterdir()}

    @contextlib.contextmanager
    def traffic(self, *kinds):
        running = Traffic(self, kinds)
        try:
            yield running
        finally:
            running.stop()

    def stop(self):
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                select.select([pidfd], [], [], 10)
                os.close(pidfd)
        self.unregister()
        shutil.rmtree(self.directory, ignore_errors=True)  # the next scenario of this boot uses the name again
