#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 150
"""Handoffs of a source that is no QEMU but answers like one, and misbehaves at random: see hostile_source.py.

  hostile.py [HOW MANY] [SEED]

However it misbehaves: the handoff ends in time, with an outcome; cprd is the process that it was, with the fds and about
the memory that it had; cprd-handoff's memory is bounded; files of others are as they were; nothing is left behind; and
an honest VM beside it is served all the time, and handed off well at the end.
"""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import hostile_source
from faults import STAGES, UNDO_STAGES, configured
from lab import (VM, Result, binary, cprctl, daemon_pid, end, expect, expect_equal, helper_pids, process_ids, read_process,
                 start_cprctl, test, wait_until)

HOW_MANY = int(sys.argv[1]) if len(sys.argv) > 1 else 20
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1  # hostile-long takes others.
QEMU = "10.0.2"
USER = "nobody"
HERE = Path(__file__).resolve().parent
PYTHON = Path("/opt/qemu/hostile/bin/qemu-system-x86_64")
PLACE = Path("/run/lab/hostile")
PRECIOUS = Path("/run/lab/precious")
CID, CHILD_CID = 7700001, 8800001

# Long enough for what is done in a busy lab, short for what hangs.
DEADLINES = {"identify": 6, "check": 10, "launch": 10, "begin": 5, "build": 20, "match": 10, "load": 5, "release": 3,
             "claim": 3, "verify": 3, "commit": 5, "retire": 5}
UNDO_TRIES = 2
GRACE_SECONDS = 20
# No handoff may take longer than all its stages and what is undone. On a busy machine a second may be three.
LIMIT_SECONDS = sum(DEADLINES.values()) + UNDO_TRIES * sum(DEADLINES[s] for s in UNDO_STAGES) + GRACE_SECONDS
HELPER_MEMORY_KB = 64 * 1024
DAEMON_MORE_KB = 16 * 1024
OUTCOMES = ("refused", "still_on_source", "updated")
# What leaves cprd in the dark about the guest that it has stopped: only then may it ask for an operator.
SILENT = {"hang", "close", "never", "exit", "stop", "leader-exit", "setuid", "vfork", "be-traced", "kill-child", "wrong-type",
          "different", "truncated", "not-text", "refuse", "huge", "endless", "deep", "many-values", "many-members", "twice",
          "fds", "events", "lying-events", "swap-qmp", "swap-directory", "swap-new", "unshare", "relay-never",
          "relay-flood", "relay-garbage", "close-device", "replace-device", "another-device", "hinder", "low-limits"}

ACTS = [*hostile_source.SAID, *hostile_source.BODY, *hostile_source.VOICE, *hostile_source.RELAY]
COMMANDS = ["greeting", "qmp_capabilities", "query-status", "query-migrate", "migrate-set-parameters", "migrate",
            "migrate_cancel", "query-cpus-fast", "human-monitor-command", "hang-up", "query-version", "query-memdev"]
QUESTIONS = 70  # of a whole handoff


# ---- what must stay as it is ----

def describe(path):
    st = path.lstat()
    known = [oct(st.st_mode), st.st_uid, st.st_gid, st.st_nlink]
    if stat.S_ISREG(st.st_mode):
        known += [st.st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
    return known


def snapshot(vm):
    """Files of others by content, those of cprd by owner and mode."""
    found = {}
    for top in (Path("/etc"), PRECIOUS, PYTHON.parent, Path("/opt/qemu/10.0.2/bin")):
        found |= {str(p): describe(p) for p in [top, *top.rglob("*")]}
    for top in (Path("/run/cprd"), vm.directory):
        for path in [top, *top.rglob("*")]:
            if path.exists():
                found[str(path)] = describe(path)[:3]
    return found


def prepare():
    PYTHON.parent.mkdir(parents=True)
    shutil.copy(os.path.realpath(sys.executable), PYTHON)
    PRECIOUS.mkdir(parents=True)
    (PRECIOUS / "file").write_text("precious")
    (PRECIOUS / "qmp").write_text("also precious")
    (PRECIOUS / "file").chmod(0o600)
    listener = hostile_source.socket.socket(hostile_source.socket.AF_UNIX)
    listener.bind(str(PRECIOUS / "socket"))
    PLACE.mkdir()
    shutil.chown(PLACE, USER, "nogroup")
    return listener


def load_start_vm():
    loader = importlib.machinery.SourceFileLoader("start_vm", "/lab/bin/start-vm")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("start_vm", loader))
    loader.exec_module(module)
    return module


start_vm = load_start_vm()


def command_line(name, directory, cid):
    """That of start-vm, without a guest to boot: firmware that finds no disk is all that is needed."""
    sys.argv[1:] = [name, "--qemu", QEMU, "--cid", str(cid), "--vhostfd", "--memory", "64M"]
    words = start_vm.command_line(start_vm.parse(), directory, hostile_source.DEVICE_FD)
    for option in ("-kernel", "-initrd", "-append"):
        at = words.index(option)
        del words[at:at + 2]
    return words


# ---- the hostile VM ----

class Hostile:
    numbers = iter(range(1, 10 ** 6))

    def __init__(self, chance):
        self.name = f"hostile{next(self.numbers)}"
        self.directory = PLACE / self.name / "vm"
        self.scope = f"lab-{self.name}.scope"
        self.owner = "body" if self.name == "hostile1" else chance.choice(["body", "body", "child"])
        self.directory.mkdir(parents=True)
        claimed = command_line(self.name, self.directory, CID)
        child = [word.replace(f"{self.directory}/qmp", f"{self.directory}/child.qmp").replace(str(CID), str(CHILD_CID))
                 for word in claimed]
        self.write("config", {"owner": self.owner, "cid": CID, "child-cid": CHILD_CID, "claimed": claimed, "child": child,
                              "precious": str(PRECIOUS)})
        self.plan(0, [])
        for path in (self.directory.parent, self.directory, *self.directory.iterdir()):
            shutil.chown(path, USER, "nogroup")
        self.process = self.start(claimed)
        ready = wait_until((self.directory / "ready").exists, 120)
        expect(ready, f"the hostile source does not start: {(self.directory / 'log').read_text()}")
        self.pid = self.process.pid
        registered = cprctl("register", self.name, "--pid", self.pid, "--qmp", self.directory / "qmp")
        expect(registered.status == 0, f"register: {registered.errors}")

    def write(self, name, content):
        (self.directory / name).write_text(json.dumps(content))

    def start(self, claimed):
        """The padding makes its command line as long as the one that it will claim."""
        words = [str(PYTHON), str(HERE / "hostile_source.py"), str(self.directory)]
        padding = sum(len(w) + 1 for w in claimed) - sum(len(w) + 1 for w in words) - 1
        devices = {hostile_source.DEVICE_FD: 0, hostile_source.CHILD_DEVICE_FD: 0}
        for number in devices:
            fd = os.open("/dev/vhost-vsock", os.O_RDWR)
            os.dup2(fd, number)
            os.close(fd)
        scope = ["systemd-run", "--quiet", "--scope", "--collect", f"--unit={self.scope}", "--"]
        become = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", "--"]
        with open(self.directory / "log", "wb") as log:
            process = subprocess.Popen([*scope, *become, *words, "x" * padding], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, cwd="/", start_new_session=True, pass_fds=list(devices),
                                       env={"PYTHONHOME": "/usr", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"})
        for number in devices:
            os.close(number)
        return process

    def plan(self, number, acts):
        self.write("plan", {"id": number, "seed": f"{SEED}/{number}", "acts": acts})

    def fired(self):
        """Where it wrote: its directory may be elsewhere by now."""
        files = list(self.directory.parent.glob("*/fired"))
        return "".join(f.read_text() for f in files).splitlines()

    def qemus(self):
        """Those of its user that are no child of the body, which are destinations."""
        mine = {self.pid}
        return [pid for pid in process_ids() if pid not in mine and self.name in read_process(pid, "cmdline") and
                read_process(pid, "comm").startswith("qemu-system") and not self.is_mine(pid)]

    def is_mine(self, pid):
        line = read_process(pid, "cmdline")
        return "child.qmp" in line or str(PYTHON) in os.readlink(f"/proc/{pid}/exe")

    def stop(self):
        subprocess.run(["systemctl", "kill", "--signal=KILL", self.scope], stderr=subprocess.DEVNULL)
        self.process.wait()
        wait_until(lambda: not self.qemus())
        cprctl("unregister", self.name)
        shutil.rmtree(self.directory.parent, ignore_errors=True)


# ---- one handoff ----

class Peak(threading.Thread):
    """The most memory that a cprd-handoff has had, as long as there is one to see."""

    def __init__(self):
        super().__init__(daemon=True)
        self.kilobytes, self.over = 0, threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            for pid in helper_pids():
                self.kilobytes = max(self.kilobytes, memory(pid, "VmHWM"))

    def end(self):
        self.over.set()
        self.join()
        return self.kilobytes


def memory(pid, key):
    for line in read_process(pid, "status").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def choose(chance):
    """One to three acts, each at a question or before a command is answered, once or from then on."""
    return [{"do": chance.choice(ACTS), "on": chance.random() < 0.3,
             "at": chance.choice(COMMANDS) if chance.random() < 0.5 else chance.randrange(1, QUESTIONS)}
            for _ in range(chance.choice([1, 1, 1, 2, 2, 3]))]


def hand_off(hostile):
    process = start_cprctl("handoff", hostile.name, "--qemu", binary(QEMU), "--max-pause", "20s")
    watch, began = Peak(), time.monotonic()
    watch.start()
    try:
        process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"no end within {LIMIT_SECONDS} s") from None
    finally:
        peak = watch.end()
    return Result(process), peak, time.monotonic() - began


class Bench:
    """The honest VM, and a hostile one that is replaced when it can do no more."""

    def __init__(self, honest, traffic, chance):
        self.honest, self.traffic, self.chance = honest, traffic, chance
        self.hostile = None
        self.outcomes, self.last, self.peak, self.longest = Counter(), "", 0, 0.0
        self.daemon, self.memory = daemon_pid(), memory(daemon_pid(), "VmRSS")
        self.files = snapshot(honest)

    def ready(self):
        if not self.hostile:
            self.hostile = Hostile(self.chance)
        return self.hostile

    def replace(self):
        if self.hostile:
            self.hostile.stop()
        self.hostile = None

    def check_outcome(self, result, fired):
        record = result.record
        outcome = record.get("outcome")
        expect(outcome, f"no record: {result.why()}")
        allowed = outcome in OUTCOMES or (outcome == "needs_operator" and any(f.split()[0] in SILENT for f in fired))
        expect(allowed, f"{outcome} (stage {record.get('stage')}: {record.get('reason')})")
        expect(outcome == "updated" or record.get("reason"), "the record gives no reason")
        expect("cprd-handoff died" not in (record.get("reason") or ""), "cprd-handoff died")
        expect(outcome != "needs_operator" or record.get("remedy"), "the record does not say what to do")
        return outcome

    def check_surroundings(self, peak):
        expect_equal(daemon_pid(), self.daemon, "pid of cprd")
        more = memory(self.daemon, "VmRSS") - self.memory
        expect(more < DAEMON_MORE_KB, f"cprd has grown by {more} kB")
        expect(peak < HELPER_MEMORY_KB, f"cprd-handoff had {peak} kB")
        now = snapshot(self.honest)
        changed = {path: (known, now.get(path)) for path, known in self.files.items() if now.get(path) != known}
        expect(not changed, f"files of others have changed: {changed}")
        expect_equal(self.honest.processes(), [self.honest.pid], "QEMUs of the honest VM")
        self.traffic.check(60)
        expect_equal(self.honest.resets(), [], "resets in the honest guest's log")

    def check_destinations(self, outcome):
        kept = outcome == "updated"
        wait_until(lambda: len(self.hostile.qemus()) == kept)
        expect_equal(len(self.hostile.qemus()), int(kept), "destinations that are left")


def attempt(bench, number, acts):
    """Returns whether the hostile source can be used again."""
    hostile = bench.ready()
    hostile.plan(number, acts)
    before = len(hostile.fired())
    result, peak, seconds = hand_off(hostile)
    fired = hostile.fired()[before:]
    print(f"{number}: {acts} fired {fired}: {result.record.get('outcome')} in {result.record.get('stage')}, "
          f"{seconds:.1f} s, {peak} kB: {result.why()}", flush=True)
    outcome = bench.check_outcome(result, fired)
    bench.outcomes[outcome] += 1
    bench.last = outcome
    expect(acts or outcome == "updated", f"the proxy is not good enough to show anything: {result.why()}")
    bench.peak, bench.longest = max(bench.peak, peak), max(bench.longest, seconds)
    bench.check_destinations(outcome)
    bench.check_surroundings(peak)
    return not fired and outcome != "updated"


def run(bench):
    for number in range(HOW_MANY):
        chance = random.Random(f"{SEED}/{number}")
        acts = choose(chance) if number else []
        name = ", ".join(f"{a['do']} at {a['at']}" for a in acts) or "only a proxy"
        good = False
        bench.ready()
        with test(f"{number}: {name}") as t:
            try:
                good = attempt(bench, number, acts)
            finally:
                if not good:
                    bench.replace()
            t.measured(bench.last)


listener = prepare()
with configured(deadlines={stage: DEADLINES[stage] * 1000000 for stage in STAGES}), \
        VM(QEMU, "--memory", "96M") as honest, honest.traffic("echo", "counter") as traffic:
    bench = Bench(honest, traffic, random.Random(SEED))
    run(bench)
    bench.replace()
    with test(f"{HOW_MANY} handoffs of hostile sources, seed {SEED}; then one of the honest VM") as t:
        honest.handoff("11.1.3").updated()
        traffic.check(60)
        t.measured(", ".join(f"{n} {outcome}" for outcome, n in bench.outcomes.items()),
                   f"cprd-handoff at most {bench.peak} kB", f"longest {bench.longest:.1f} s")
end()
