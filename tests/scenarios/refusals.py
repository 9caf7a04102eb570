#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: -k 6.12 for check-matrix
# part of: check
# seconds: 80
"""What cprd refuses, saying why and what to do, without the guest noticing: its connections carry on, QEMU saw no
STOP, nothing is left behind."""

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from lab import (EXIT_REFUSED, VM, Handoff, binary, cprctl, end, expect, expect_equal, process_ids, read_process,
                 test, wait_until)

# Within the list of binaries that cprd allows by default.
STRANGE = Path("/opt/qemu/strange/bin")
SLOT_SYMBOL = b"vhost_vsock_common_post_load\0"


def blockers(result):
    findings = result.last.get("findings") or result.record.get("findings") or []
    return [f for f in findings if f["severity"] == "blocker"]


def expect_refused(vm, id, words, qemu=None):
    """By check and by handoff alike, with the finding id, the words in what it says, and a remedy."""
    checked = vm.check(qemu)
    expect_equal(checked.status, EXIT_REFUSED, "exit status of check")
    found = {f["id"]: f for f in blockers(checked)}
    expect(id in found, f"check did not find {id}, but {list(found.values())}{checked.errors}")
    expect_equal(list(found), [id], "blockers")
    expect(words in found[id]["what"], f"{id} does not say '{words}': {found[id]['what']}")
    expect(found[id].get("remedy"), f"{id} names no remedy")
    expect_handoff_refused(vm, qemu)
    return found[id]


def expect_handoff_refused(vm, qemu=None):
    refused = vm.handoff(qemu)
    expect_equal(refused.status, EXIT_REFUSED, f"exit status of handoff ({refused.why()})")
    expect_equal(refused.record.get("outcome"), "refused", "outcome")
    expect({s["stage"] for s in refused.record["stages"]} <= {"identify", "check"}, "a stage after check was begun")
    return refused.record


@contextmanager
def untouched(vm, traffic=None):
    """The guest runs in the same process all the time, and its connections carry on."""
    files = vm.files()
    with vm.spy() as spy:
        yield
        expect_equal(spy.command("query-status")["status"], "running", "run state")
        expect_equal([e["event"] for e in spy.events], [], "QEMU's events")
    expect_equal(vm.processes(), [vm.first_pid], "QEMUs of the VM")
    expect_equal(vm.files(), files, "files of the VM")
    if traffic:
        traffic.check()


def refusal(name, vm, traffic, id, words, qemu=None):
    with test(name) as t, untouched(vm, traffic):
        finding = expect_refused(vm, id, words, qemu)
        t.measured(f"{id}: {finding['what']} -> {finding['remedy']}")


# ---- the destination's binary ----

def strange_binary(name, content, mode=0o755):
    STRANGE.mkdir(parents=True, exist_ok=True)
    path = STRANGE / f"qemu-system-{name}"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def without_slot():
    """A QEMU whose symbol cprd does not find: as if the function had another name."""
    content = Path(binary("11.1.3")).read_bytes()
    expect(content.count(SLOT_SYMBOL) >= 1, "no symbol to rename")
    return strange_binary("slotless", content.replace(SLOT_SYMBOL, SLOT_SYMBOL.replace(b"common", b"rarely")))


with VM("11.1.3", spy=True) as vm, vm.traffic("echo", "echo:seqpacket", "counter") as traffic:
    file = "destination-binary"
    qemu = Path(binary("11.1.3")).read_bytes()
    refusal("destination missing", vm, traffic, file, "No such file", str(STRANGE / "qemu-system-none"))
    refusal("destination not executable", vm, traffic, file, "not executable", strange_binary("plain", qemu, 0o644))
    refusal("destination writable by others", vm, traffic, file, "writable by users",
            strange_binary("writable", qemu, 0o777))
    with test("destination not among those allowed") as t, untouched(vm, traffic):
        for refused in (vm.check("/usr/bin/true"), vm.handoff("/usr/bin/true")):
            expect_equal(refused.status, EXIT_REFUSED, "exit status")
            expect_equal(refused.error, "io.cprd.NotUsable", "error")
            expect("allowed" in refused.details["what"] and refused.details["remedy"], f"it said {refused.details}")
        t.measured(f"{refused.details['what']} -> {refused.details['remedy']}")
    refusal("destination not a QEMU", vm, traffic, file, "qemu-system-true",
            strange_binary("true", Path("/usr/bin/true").read_bytes()))
    refusal("destination not a program", vm, traffic, file, "qemu-system-text", strange_binary("text", b"#!/bin/sh\n"))
    refusal("destination without the shield's slot", vm, traffic, file, "qemu-system-slotless", without_slot())
    refusal("destination that does not know the machine", vm, traffic, "destination-qemu", "pc-q35-11.1", "10.0.2")
    shutil.rmtree(STRANGE)

    with test("a second handoff at once is told Busy") as t:
        first = Handoff(vm.name)
        first.wait_for("identify")
        second = cprctl("handoff", vm.name)
        checked = cprctl("check", vm.name)
        result = first.end()
        vm.note(result)
        result.updated()
        for refused in (second, checked):
            expect_equal(refused.status, EXIT_REFUSED, "exit status of the second")
            expect_equal(refused.error, "io.cprd.Busy", "error")
            expect_equal(refused.details["handoff"], result.record["id"], "handoff in flight")
        traffic.check()
        t.measured(second.errors.strip())
        vm.first_pid = vm.pid

    # ---- the QMP path ----

    with test("QMP path busy") as t, untouched(vm, traffic):
        with vm.qmp():
            record = expect_handoff_refused(vm)
            expect(record.get("remedy"), "no remedy")
            t.measured(f"{record['reason']} -> {record['remedy']}")

    with test("QMP path dead") as t, untouched(vm, traffic):
        vm.unregister()
        dead = "/run/lab/dead"
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(dead)
        vm.register(qmp=dead)
        record = expect_handoff_refused(vm)
        expect(record.get("remedy"), "no remedy")
        t.measured(f"{record['reason']} -> {record['remedy']}")
        os.unlink(dead)
        vm.unregister()
        vm.register()

    # ---- the kernel ----

    with test("a device node without RESET_OWNER") as t, untouched(vm, traffic):
        subprocess.run(["mount", "--bind", "/dev/null", "/dev/vhost-vsock"], check=True)
        try:
            finding = expect_refused(vm, "kernel", "")
            t.measured(f"{finding['what']} -> {finding['remedy']}")
        finally:
            subprocess.run(["umount", "/dev/vhost-vsock"], check=True)

    with test("and after all that a handoff still works") as t:
        vm.handoff("11.1.3").updated()
        traffic.check()
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")

# ---- the source's command line ----

for name, options, id, words in (
        ("RAM not shared", ["--no-share"], "memory", "not shared"),
        ("auxiliary RAM not shared", ["--no-aux-ram-share"], "aux-ram-share", "not shared")):
    with VM("10.0.2", *options, spy=True) as vm, vm.traffic("echo", "counter") as traffic:
        refusal(name, vm, traffic, id, words)

with VM("10.0.2", "--no-wait", vsock=False, spy=True) as vm:
    refusal("no vsock device", vm, None, "vsock-device", "no vhost-vsock device")

with VM("10.0.2", "--no-wait", "--machine", "pc", spy=True) as vm:
    with vm.spy() as spy:
        spy.command("device_add", driver="virtio-keyboard-pci", id="plugged")
    refusal("a device that was hot-plugged, of a kind that cannot be brought over", vm, None, "hot-plug", "plugged")

for change, name, id, words in (
        (lambda s: s.command("device_add", driver="vhost-vsock-pci", id="second", guest_cid=9009),
         "a second vsock device that was plugged in", "hot-plug", "second"),
        (lambda s: s.command("device_del", id="vsock0"), "the vsock device was unplugged", "vsock-device", "")):
    with VM("10.0.2", "--machine", "pc", spy=True) as vm:
        with vm.spy() as spy:
            change(spy)
            if id == "vsock-device":
                spy.wait_event("DEVICE_DELETED")
        refusal(name, vm, None, id, words)


def runs(vm):
    with vm.spy() as spy:
        return spy.command("query-status")["status"] == "running"


RAM = Path("/run/lab/ram")
RAM.mkdir(parents=True, exist_ok=True)
for name, options, words in (
        ("a drive whose writes are in a file without a name",
         ["-drive", "file=/lab/guest/initrd,format=raw,if=none,id=d,snapshot=on"], "no name"),):
    with VM("10.0.2", "--no-wait", *options, spy=True) as vm:
        expect(wait_until(lambda: runs(vm), 30), "the guest does not run")
        refusal(name, vm, None, "command-line", words)
with VM("10.0.2", "--no-wait", "-object", f"memory-backend-file,id=more,size=1M,share=on,mem-path={RAM}/file",
        spy=True) as vm:
    expect(wait_until(lambda: runs(vm), 30), "the guest does not run")
    with test("guest memory in a file that is there") as t, untouched(vm):
        expect_equal(blockers(vm.check()), [], "blockers")
    (RAM / "file").unlink()
    with test("guest memory in a file that has been removed") as t, untouched(vm):
        expect_equal(blockers(vm.check()), [], "blockers")

PRECIOUS = Path("/run/lab/precious")
LONG = "/run/lab/" + 90 * "l"

for name, path, words in (("a path on the command line that is no socket", PRECIOUS, "is not a socket"),
                          ("a path that is too long for two sockets", LONG, "leaves no room")):
    with VM("10.0.2", "--no-wait", "-chardev", f"socket,id=more,path={path},server=on,wait=off", spy=True) as vm:
        if path == PRECIOUS:
            PRECIOUS.unlink()
            PRECIOUS.write_text("not cprd's")
        refusal(name, vm, None, "sockets", words)
        expect(path != PRECIOUS or PRECIOUS.read_text() == "not cprd's", f"{PRECIOUS} has been touched")
    Path(path).unlink(missing_ok=True)

# ---- the source's unit ----


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:  # It has ended.
        return ""


def capabilities(pid):
    return re.search(r"^CapPrm:\t(\w+)$", read_process(pid, "status"), re.M)[1]


@contextmanager
def service(like, *properties, parent=()):
    """A copy of the QEMU of @like that is the main process of a service, or the child of one, registered under its own
    name. Gives a function that tells its pid."""
    qmp = Path("/run/lab/service-qmp")
    qmp.unlink(missing_ok=True)  # A QEMU that was killed leaves it.
    argv = [word.replace(like.qmp_path, str(qmp)).replace(f"guest-cid={like.cid}", "guest-cid=9000")
            for word in read_process(like.pid, "cmdline").split("\0")[:-1]]
    argv[argv.index("-chardev") + 1] = "null,id=serial0"
    subprocess.run(["systemd-run", "--quiet", "--collect", "--unit=lab-service.service", *properties, "--", *parent, *argv],
                   check=True)

    def qemu():
        return next((pid for pid in process_ids() if str(qmp) in read_process(pid, "cmdline") and
                     "qemu" in executable(pid)), None)

    try:
        expect(wait_until(lambda: qmp.exists() and qemu(), 60), "the service has no QMP socket")
        expect_equal(cprctl("register", "service", "--pid", qemu(), "--qmp", qmp).status, 0, "register")
        yield qemu
    finally:
        cprctl("unregister", "service")
        subprocess.run(["systemctl", "stop", "lab-service.service"], check=True)


with VM("10.0.2", "--no-wait") as vm:
    with test("the main process of a service, which would end with it") as t, service(vm):
        checked = cprctl("check", "service")
        expect_equal([f["id"] for f in blockers(checked)], ["unit"], "blockers")
        expect_equal(cprctl("handoff", "service").status, EXIT_REFUSED, "exit status of handoff")
        t.measured(blockers(checked)[0]["what"], blockers(checked)[0]["remedy"])
    with test("a service with ExitType=cgroup outlives its main process") as t, \
            service(vm, "--property=ExitType=cgroup", "--property=SystemCallFilter=~reboot"):
        findings = {f["id"]: f["severity"] for f in cprctl("check", "service").last["findings"]}
        expect_equal((findings["unit"], findings["seccomp"]), ("passed", "warning"), "findings")
        expect_equal(cprctl("handoff", "service").record.get("outcome"), "updated", "outcome")
        time.sleep(1)
        state = subprocess.run(["systemctl", "is-active", "lab-service.service"], stdout=subprocess.PIPE, text=True)
        expect_equal(state.stdout.strip(), "active", "state of the service")

    with test("the child of a service's main process, which may end with it") as t, \
            service(vm, parent=["sh", "-c", '"$@"; true', "sh"]):
        checked = cprctl("check", "service")
        expect_equal([f["id"] for f in blockers(checked)], ["unit"], "blockers")
        t.measured(blockers(checked)[0]["what"], blockers(checked)[0]["remedy"])
    with test("a root without capabilities gets a destination without them") as t, \
            service(vm, "--property=ExitType=cgroup", "--property=SecureBits=noroot noroot-locked",
                    "--property=NoNewPrivileges=yes") as qemu:
        expect_equal(capabilities(qemu()), "0" * 16, "capabilities of the source")
        findings = {f["id"]: f["severity"] for f in cprctl("check", "service").last["findings"]}
        expect_equal(findings["capabilities"], "passed", "finding about capabilities")
        t.measured(f"landlock: {findings['landlock']}")
        record = cprctl("handoff", "service").record
        expect_equal(record.get("outcome"), "updated", "outcome")
        expect_equal(capabilities(record["destination"]["pid"]), "0" * 16, "capabilities of the destination")

# ---- what is not there ----

with test("a process that is not a QEMU") as t:
    result = cprctl("register", "stranger", "--pid", os.getpid(), "--qmp", "/run/dbus/system_bus_socket")
    expect_equal(result.status, EXIT_REFUSED, "exit status")
    expect(result.details.get("what") and result.details.get("remedy"), f"no cause or no remedy: {result.said()}")
    t.measured(f"{result.details['what']} -> {result.details['remedy']}")

with test("a process that does not exist") as t:
    result = cprctl("register", "stranger", "--pid", 4194303, "--qmp", "/run/dbus/system_bus_socket")
    expect_equal(result.status, EXIT_REFUSED, "exit status")
    t.measured(result.details["what"])

with test("a VM that nobody registered") as t:
    for verb in ("check", "handoff", "show", "unregister", "cancel"):
        result = cprctl(verb, "nobody")
        expect_equal(result.status, EXIT_REFUSED, f"exit status of {verb}")
        expect_equal((result.error, result.details), ("io.cprd.NoSuchVm", {"name": "nobody"}), f"{verb} said")
    t.measured(result.errors.strip())
end()
