#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# lab: --host trixie
# part of: check
# seconds: 25
"""The API from clients that know nothing of cprd: systemd's varlinkctl, python3-varlink, and a bare socket."""

import json
import subprocess

import varlink

from lab import VM, binary, end, expect, expect_equal, test

ADDRESS = "/run/cprd/io.cprd"


def run(*command, input=None):
    return subprocess.run(command, input=input, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def varlinkctl(*arguments):
    result = run("varlinkctl", "--no-pager", *arguments)
    expect_equal(result.returncode, 0, f"varlinkctl {arguments[0]} said {result.stdout}; status")
    return result.stdout


def raw(*calls):
    """What a client with a socket and a JSON library sees. Returns one reply per call."""
    sent = "".join(json.dumps({"method": m, "parameters": p}) + "\0" for m, p in calls)
    answer = run("socat", "-t", "60", "-", f"UNIX-CONNECT:{ADDRESS}", input=sent).stdout
    return [json.loads(text) for text in answer.split("\0")[:-1]]


with test("varlinkctl info and introspect") as t:
    info = varlinkctl("info", ADDRESS)
    expect("io.cprd" in info and "cprd" in info, f"info says {info}")
    description = varlinkctl("introspect", ADDRESS, "io.cprd")
    for word in ("method Handoff", "method Check", "error Busy", "type Record"):
        expect(word in description, f"no {word} in the description")
    t.measured(f"{len(description.splitlines())} lines of interface")

with VM("10.0.2") as vm, vm.traffic("echo", "counter") as traffic:
    with test("varlinkctl call") as t:
        vms = json.loads(varlinkctl("--json=short", "call", ADDRESS, "io.cprd.List", "{}"))["vms"]
        expect_equal([v["name"] for v in vms], [vm.name], "VMs listed")
        checked = json.loads(varlinkctl("--json=short", "call", ADDRESS, "io.cprd.Check",
                                        json.dumps({"name": vm.name, "binary": binary("11.1.3")})))
        expect(checked["passed"], f"check found {checked['findings']}")
        t.measured(f"{len(checked['findings'])} findings")

    with test("python3-varlink, a handoff with a reply for each stage") as t:
        with varlink.Client(address=f"unix:{ADDRESS}") as client, client.open("io.cprd") as cprd:
            replies = list(cprd.Handoff(name=vm.name, binary=binary("11.1.3"), maxPause=20000000, _more=True))
            record = replies[-1]["record"]
            expect_equal(record["outcome"], "updated", "outcome")
            ended = [r["progress"]["stage"] for r in replies if (r.get("progress") or {}).get("event") == "end"]
            expect_equal(ended, [s["stage"] for s in record["stages"]], "stages told")
            expect_equal({r["id"] for r in replies}, {record["id"]}, "ids")
            vm.pid = record["destination"]["pid"]
            expect_equal(cprd.Describe(name=vm.name)["vm"]["pid"], vm.pid, "pid described")
            history = cprd.History(id=record["id"])["records"]
            expect_equal(history, [{**history[0], **record}], "record in the history")
            try:
                cprd.Check(name="nobody")
                raise AssertionError("a VM that nobody registered was checked")
            except varlink.VarlinkError as e:
                expect_equal(e.error(), "io.cprd.NoSuchVm", "error")
        traffic.check()
        t.measured(f"{len(replies)} replies")

    with test("a bare socket, several calls at once, errors that say what is wrong") as t:
        replies = raw(("io.cprd.List", {}), ("io.cprd.Describe", {"name": "nobody"}), ("io.cprd.Nothing", {}),
                      ("io.cprd.Describe", {"name": 5}), ("org.varlink.service.GetInfo", {}))
        expect_equal([r.get("error") for r in replies],
                     [None, "io.cprd.NoSuchVm", "org.varlink.service.MethodNotFound",
                      "org.varlink.service.InvalidParameter", None], "errors")
        expect("io.cprd" in replies[4]["parameters"]["interfaces"], f"GetInfo says {replies[4]}")

    with test("a bare socket, what is no Varlink ends its connection and nothing else") as t:
        for nonsense in ("nonsense\0", "{}\0", '{"method":5}\0', "[" * 5000 + "\0", '{"method":"io.cprd.List"', "\0" * 10):
            run("socat", "-t", "1", "-", f"UNIX-CONNECT:{ADDRESS}", input=nonsense)
        expect_equal(len(raw(("io.cprd.List", {}))), 1, "replies to a call after it")

    with test("somebody who is neither root nor in the group cprd") as t:
        said = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--",
                   "socat", "-t", "1", "-", f"UNIX-CONNECT:{ADDRESS}", input='{"method":"io.cprd.List"}\0')
        expect("Permission" in said.stdout, f"was let in: {said.stdout}")
        t.measured(said.stdout.strip().split("E ")[-1])

    with test("a caller that goes away does not end its handoff") as t:
        handoff = vm.begin_handoff("11.1.3")
        handoff.wait_for("check")
        handoff.process.kill()
        handoff.process.wait()
        id = json.loads(handoff.seen[0])["id"]
        record = raw(("io.cprd.History", {"id": id}))[0]["parameters"]["records"][0]
        expect_equal(record["outcome"], "updated", "outcome")
        vm.pid = record["destination"]["pid"]
        traffic.finish()
        expect_equal(vm.resets(), [], "resets in the guest's log")
end()
