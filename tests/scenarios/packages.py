#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-packages
# seconds: 90
"""The Debian packages on a running host: installed, upgraded while a handoff is in flight, removed, purged, and no VM
or connection is the worse for it. tests/install/packages builds both versions and runs this."""

import os
import subprocess
import sys
from pathlib import Path

from lab import VM, cprctl, daemon_pid, end, expect, expect_equal, pause_of, test, wait_until

NEW, OLD = Path("/src/build/deb/trixie"), Path("/src/build/deb-old/trixie")


def run(*command):
    result = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))
    return result.returncode, result.stdout


def dpkg(*arguments):
    status, text = run("dpkg", *arguments)
    expect(status == 0, f"dpkg {arguments[0]}: {text}")
    return text


def install(directory):
    return dpkg("-i", *directory.glob("cprd_*.deb"), *directory.glob("libcprd0_*.deb"))


def installed_version():
    return run("dpkg-query", "-W", "-f", "${Version}", "cprd")[1]


def signal_helper(name, signal):
    status, text = run("systemctl", "kill", f"--signal={signal}", f"cprd-handoff@{name}.service")
    expect(status == 0, text)


def helper_in_flight():
    text = run("systemctl", "list-units", "--no-legend", "--plain", "cprd-handoff@*.service")[1]
    return text.split("@")[1].split(".service")[0] if "@" in text else None


def left():
    """What can be seen of it on the host. The group's entry is in four files."""
    paths = [p for p in ("/run/cprd", "/var/lib/cprd", "/etc/cprd", "/usr/lib/cprd", "/usr/bin/cprctl",
                         "/etc/systemd/system/multi-user.target.wants/cprd.service", "/usr/lib/tmpfiles.d/cprd.conf",
                         "/usr/share/doc/cprd", "/usr/share/varlink/interfaces/io.cprd.varlink") if os.path.lexists(p)]
    status, _ = run("getent", "group", "cprd")
    return paths + ["group cprd"] * (status == 0)


if not list(NEW.glob("cprd_*.deb")) or not list(OLD.glob("cprd_*.deb")):
    sys.exit("packages: run tests/install/packages, which builds them")

with VM("10.0.2") as vm, vm.traffic("echo", "counter") as traffic:
    with test("the packages are installed, and cprd of the package runs") as t:
        install(OLD)
        run("systemctl", "restart", "cprd")
        expect_equal(cprctl("list").last["vms"][0]["name"], vm.name, "VM in the registry")
        t.measured(installed_version())

    with test("an upgrade in a handoff restarts cprd, and the handoff goes on") as t:
        before = daemon_pid()
        handoff = vm.begin_handoff("11.1.3")
        handoff.wait_for("check")
        name = helper_in_flight()
        expect(name, "no cprd-handoff is running")
        signal_helper(name, "STOP")
        install(NEW)
        expect(daemon_pid() not in (0, before), "cprd was not restarted")
        expect_equal(helper_in_flight(), name, "cprd-handoff in flight after the upgrade")
        signal_helper(name, "CONT")
        result = handoff.end()
        vm.note(result)
        record = result.updated()
        traffic.check()
        t.measured(f"{installed_version()}", pause_of(record))

    with test("it cannot be removed while a handoff is in flight") as t:
        handoff = vm.begin_handoff("11.1.3")
        handoff.wait_for("check")
        name = helper_in_flight()
        signal_helper(name, "STOP")
        status, text = run("dpkg", "-r", "cprd")
        signal_helper(name, "CONT")
        result = handoff.end()
        vm.note(result)
        expect(status != 0 and "a handoff is in flight" in text, f"dpkg -r: status {status}: {text}")
        result.updated()
        expect_equal(run("systemctl", "is-active", "cprd")[1].strip(), "active", "cprd.service")

    with test("removed, it is stopped, and the VM runs on") as t:
        dpkg("-r", "cprd")
        expect(wait_until(lambda: not daemon_pid()), "cprd still runs")
        expect_equal(vm.processes(), [vm.pid], "QEMUs")
        traffic.check()

    with test("purged, nothing is left") as t:
        dpkg("-P", "cprd", "libcprd0")
        expect_equal(left(), [], "left")

    with test("installed again it starts, and can hand off") as t:
        install(NEW)
        expect(wait_until(daemon_pid), "cprd does not run")
        vm.register()
        vm.handoff("11.1.3").updated()
        traffic.check()

    with test("no byte lost, doubled or out of order") as t:
        traffic.finish()
        t.measured(f"{traffic.bytes()} bytes")
end()
