# SPDX-License-Identifier: LGPL-2.1-or-later
"""For the failure scenarios: the kill matrix's cells, what each must end in, and its table.

A cell is a stage of a handoff, a point before or after it, and an action: what breaks there. The stages are those
of the stage table itself. What a cell must end in follows from three facts only: whether the guest has been touched
at that point, whether its state has reached the destination, whether the handoff is committed.
"""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

from lab import VM, Result, cprctl, binary, expect, expect_equal, report, start_cprctl, test, wait_until

HELPER = "/usr/lib/cprd/cprd-handoff"
CONFIG = Path("/etc/cprd/cprd.conf")
ACTIONS = ["fail", "hang", "kill-helper", "kill-cprd", "kill-both", "kill-destination", "exit-destination",
           "kill-source", "close-qmp"]
QEMU = "11.1.3"
LOAD = ("echo", "counter", "source")

# The deadline of a stage that is to hang: a busy lab needs some time for the stage itself.
HANG_SECONDS = 8
# A host with KVM is an emulated one in the lab, which is several times as slow.
GRACE_SECONDS = 20 if os.path.exists("/dev/kvm") else 5
# Of one that continues after its fault, through all remaining stages. Generous: the lab has one CPU.
FORWARD_SECONDS = 40
# The lab's one CPU is the guest's, its load's and all of its clients': the pause is measured elsewhere.
MAX_PAUSE = "20s"
# For every client to make progress, including those that give way.
FLOW_SECONDS = 30
# Only so that a handoff that hangs fails its cell instead of the whole file.
LIMIT_SECONDS = 180

GONE = "gone"
UNLESS_UPDATED = "gone, unless updated"
WORDS = {"updated": "updated", "refused": "refused", "still_on_source": "source", "needs_operator": "OPERATOR"}


def stage_table():
    """The table of the stages, as the program itself prints it."""
    result = subprocess.run([HELPER, "--stages"], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout)


STAGES = [stage["name"] for stage in stage_table()]
UNDO_STAGES = [stage["name"] for stage in stage_table() if stage["undo"]]
DEADLINES = {stage["name"]: stage["deadline"] / 1000000 for stage in stage_table()}


def restart_daemon():
    subprocess.run(["systemctl", "restart", "cprd.service"], check=True)


@contextlib.contextmanager
def configured(**members):
    """cprd restarted with this configuration, and with its own again at the end."""
    try:
        CONFIG.parent.mkdir(exist_ok=True)
        CONFIG.write_text(json.dumps(members))
        restart_daemon()
        yield
    finally:
        CONFIG.unlink()
        restart_daemon()


def short_deadline(stage):
    """For a stage that is to hang; stages that have work to do keep their own."""
    return configured(deadlines={stage: HANG_SECONDS * 1000000})


# ---- a handoff with faults ----

def records(vm):
    return cprctl("history", vm.name).last.get("records") or []


def record_of(vm, known, seconds):
    """The record that was not there before; cprctl itself may have lost its cprd before it knew the id."""
    def fresh():
        return [r for r in records(vm) if r["id"] not in known]
    found = wait_until(fresh, seconds)
    expect(found, f"no record within {seconds:.0f} s")
    return found[0]


def seconds_before(replies, record, stage):
    """How long the handoff took to reach this stage: as cprctl was told, or, if cprd died before it told that, by the
    record."""
    progress = (reply.get("progress") or {} for reply in replies)
    told = (p["since"] / 1e6 for p in progress if stage and p.get("stage") == stage and not p.get("undo"))
    before = STAGES.index(stage) if stage else 0
    return next(told, sum(s["elapsed"] / 1e6 for s in record["stages"]
                          if not s.get("undo") and s["stage"] in STAGES[:before]))


def handoff_with(vm, *faults, since=None, max_pause=MAX_PAUSE):
    """Returns the record, and how long the call took, in seconds, from the beginning of the stage `since` on. The
    record is the one that History has."""
    known = {r["id"] for r in records(vm)}
    started = time.monotonic()
    orders = [word for fault in faults for word in ("--fault", fault)]
    process = start_cprctl("handoff", vm.name, "--qemu", binary(QEMU), "--max-pause", max_pause, *orders)
    try:
        process.wait(LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError(f"no end within {LIMIT_SECONDS} s") from None
    result = Result(process)
    record = record_of(vm, known, LIMIT_SECONDS)
    seconds = time.monotonic() - started
    if result.record:
        expect_equal(result.record["id"], record["id"], "record that cprctl shows")
    return record, seconds - seconds_before(result.replies, record, since)


# ---- what must come of it ----

class Cell:
    def __init__(self, stage, when, action):
        self.stage, self.when, self.action = stage, when, action
        self.at = 2 * STAGES.index(stage) + (when == "after")

    @property
    def name(self):
        return f"{self.stage}:{self.when}={self.action}"

    def limit(self):
        """In seconds, from the beginning of the stage on."""
        if "updated" in self.expected()[0]:
            return FORWARD_SECONDS
        return (HANG_SECONDS if self.action == "hang" else DEADLINES[self.stage]) + GRACE_SECONDS

    def since(self, stage, when):
        return self.at >= 2 * STAGES.index(stage) + (when == "after")

    def expected(self):
        """(outcome, where the guest is afterwards); more than one outcome where each is right."""
        untouched = not self.since("check", "after")
        committed = self.since("commit", "after")
        if self.action in ("fail", "hang"):
            untouched = not self.since("launch", "before")
            return ("updated" if committed else "refused" if untouched else "still_on_source"), "alive"
        if self.action in ("kill-helper", "kill-both"):
            return ("updated" if committed else "still_on_source"), "alive"
        if self.action == "kill-cprd":
            return "updated", "alive"
        if self.action in ("kill-destination", "exit-destination"):
            return self.expected_without_destination(committed)
        if self.action == "kill-source":
            if self.since("load", "after"):
                return "updated", "alive"
            # The source sends its state by itself, and may have finished.
            if self.since("begin", "after"):
                return ("still_on_source", "updated"), UNLESS_UPDATED
            return ("refused" if untouched else "still_on_source"), GONE
        # close-qmp: commit and what follows it make a new connection if they find none.
        if not self.since("identify", "after") or self.since("commit", "before"):
            return "updated", "alive"
        # With the guest's state loaded, it depends on whether any query is left before commit.
        if self.since("load", "after"):
            return ("still_on_source", "updated"), "alive"
        return ("refused" if untouched else "still_on_source"), "alive"

    def expected_without_destination(self, committed):
        if not self.since("launch", "after"):
            return "updated", "alive"
        if committed:
            return "updated", GONE
        return "still_on_source", "alive"


def is_alive(vm):
    return bool(vm.processes())


def check_end(vm, record, expected, where):
    """The outcome, and at most one QEMU, which is the one that the record names and is unchanged."""
    expect(record["outcome"] in ([expected] if isinstance(expected, str) else expected),
           f"{record['outcome']} instead of {expected} (stage {record.get('stage')}: {record.get('reason')})")
    if record["outcome"] != "updated":
        expect(record.get("reason"), "the record gives no reason")
    else:
        vm.pid = record["destination"]["pid"]
    where = settle(record, where)
    wanted = [] if where == GONE else [vm.pid]
    wait_until(lambda: vm.processes() == wanted)
    expect_equal(vm.processes(), wanted, f"QEMUs of {vm.name}")
    if where != GONE:
        vm.check_traits()
    return where


def settle(record, where):
    """Where the guest must be, now that the outcome is known."""
    if where == UNLESS_UPDATED:
        return "alive" if record["outcome"] == "updated" else GONE
    return where


def check_connections(vm, load, record):
    load.check(FLOW_SECONDS)
    expect(not record.get("lost"), f"{record.get('lost')} connections lost by the host's list")
    expect_equal(vm.resets(), [], "resets in the guest's log")


def give_way(load):
    """A stream at full speed takes all of the lab's one CPU. It gets only what the handoff leaves."""
    for client in load.clients:
        if client.name in ("source", "sink"):
            os.setpriority(os.PRIO_PROCESS, client.thread.native_id, 15)


class Bench:
    """A VM under load that is replaced when a cell has ended it, or has failed on it."""

    def __init__(self, kinds=LOAD):
        self.kinds, self.vm, self.load = kinds, None, None

    def ready(self):
        if not self.vm:
            self.vm = VM(QEMU)
            self.load = contextlib.ExitStack()
            self.traffic = self.load.enter_context(self.vm.traffic(*self.kinds))
            give_way(self.traffic)
            wait_until(lambda: all(c.bytes for c in self.traffic.clients), 20)
        return self.vm, self.traffic

    def finish(self):
        """The bytes of the whole life of this VM, the guest's receipts included."""
        if self.vm and is_alive(self.vm):
            self.traffic.finish()

    def close(self):
        if self.vm:
            for client in self.traffic.clients if not is_alive(self.vm) else []:
                client.errors.append("its VM is gone")  # Its lost connection is no news then.
            self.vm.stop()
            self.load.close()
            self.vm = None


def run_cell(bench, faults, expected, where, limit, since=None, last_check=check_connections):
    """One cell on the VM of the bench: its end, its time, its connections, and the next handoff."""
    vm, load = bench.ready()
    record, seconds = handoff_with(vm, *faults, since=since)
    where = check_end(vm, record, expected, where)
    if seconds > limit and where != GONE:
        # The machine may have been busy: what is really slow is slow again.
        print(f"took {seconds:.1f} s of {limit} s: once more")
        last_check(vm, load, record)
        record, seconds = handoff_with(vm, *faults, since=since)
        where = check_end(vm, record, expected, where)
    expect(seconds <= limit, f"took {seconds:.1f} s of {limit} s")
    if where != GONE:
        last_check(vm, load, record)
        handoff_with_success(vm, load)
    return record, seconds


def handoff_with_success(vm, load):
    record, _ = handoff_with(vm)
    expect_equal(record["outcome"], "updated",
                 f"outcome of the next handoff (stage {record.get('stage')}: {record.get('reason')})")
    vm.pid = record["destination"]["pid"]
    load.check(FLOW_SECONDS)


# ---- the table ----

class Table:
    """`make` shows lines that begin with a bar as they are."""

    def __init__(self, title, columns):
        self.title, self.columns, self.rows = title, columns, {}

    def put(self, row, column, text):
        self.rows.setdefault(row, {})[column] = text

    def print(self):
        widths = [max(len(c), *(len(cells.get(c, "-")) for cells in self.rows.values())) for c in self.columns]
        first = max(len(self.title), *map(len, self.rows))

        def line(head, cells):
            print(f"| {head:<{first}} | " + " | ".join(f"{c:<{w}}" for c, w in zip(cells, widths)) + " |", flush=True)

        line(self.title, self.columns)
        line("-" * first, ["-" * w for w in widths])
        for row, cells in self.rows.items():
            line(row, [cells.get(c, "-") for c in self.columns])


def summary(record, seconds, where):
    gone = ", no VM" if settle(record, where) == GONE else ""
    return f"{WORDS[record['outcome']]}{gone} {seconds:.1f} s"


def run_matrix(cells, title="stage"):
    """All cells, a test for each, and the table of them."""
    table = Table(title, [a for a in ACTIONS if any(c.action == a for c in cells)])
    bench = Bench()
    for cell in cells:
        bench.ready()
        with short_deadline(cell.stage) if cell.action == "hang" else contextlib.nullcontext():
            run_matrix_cell(bench, cell, table)
    with test("no byte lost, doubled or out of order"):
        bench.finish()
    bench.close()
    table.print()


def run_matrix_cell(bench, cell, table):
    expected, where = cell.expected()
    row = f"{cell.stage}:{cell.when}"
    table.put(row, cell.action, "FAILED")
    bench.ready()  # Before the test, whose time is then the cell's.
    with test(cell.name) as t:
        record, seconds = run_cell(bench, [cell.name], expected, where, cell.limit(), cell.stage)
        text = summary(record, seconds, where)
        t.measured(text)
        table.put(row, cell.action, text)
    if table.rows[row][cell.action] == "FAILED" or "no VM" in table.rows[row][cell.action]:
        bench.close()
