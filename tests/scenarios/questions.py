#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# lab: -k 7.3
# part of: check-matrix
# seconds: 150
"""A source survives whatever cprd sends it: every command of handoff/commands.c, sent to every QEMU with every kind
of device. The table is read from the source file, so that none is forgotten."""

import contextlib
import re
import subprocess
from pathlib import Path

from lab import VM, Qmp, binary, end, expect, test, wait_until

VERSIONS = ["10.0.2", "10.0.13", "11.1.3"]
# They change something, and have scenarios of their own.
DEEDS = {"qmp_capabilities", "migrate-set-capabilities", "migrate-set-parameters", "migrate", "migrate_cancel", "qom-set",
         "cont", "getfd", "closefd"}

COMMON = """
  -blockdev null-co,node-name=b0,size=1048576,read-zeroes=on -blockdev null-co,node-name=b1,size=1048576,read-zeroes=on
  -blockdev null-co,node-name=b2,size=1048576,read-zeroes=on -blockdev null-co,node-name=b3,size=1048576,read-zeroes=on
  -blockdev null-co,node-name=b4,size=1048576,read-zeroes=on -blockdev null-co,node-name=b5,size=1048576,read-zeroes=on
  -chardev null,id=c0 -chardev null,id=c1 -chardev null,id=c2 -chardev null,id=c3 -chardev null,id=c4
  -netdev hubport,id=h0,hubid=0 -netdev hubport,id=h1,hubid=0 -netdev hubport,id=h2,hubid=0
  -netdev hubport,id=h3,hubid=0 -netdev hubport,id=h4,hubid=0 -netdev hubport,id=h5,hubid=0
  -object rng-builtin,id=rng0 -object cryptodev-backend-builtin,id=cr0 -object iothread,id=io0
  -object throttle-group,id=tg0,x-iops-total=100 -object secret,id=se0,data=x -audiodev none,id=au0
"""
# Each group is a machine; a device that a version does not know is left out of it.
GROUPS = {
    "virtio": """virtio-net-pci,netdev=h0 virtio-blk-pci,drive=b0 virtio-blk-pci,drive=b1,iothread=io0 virtio-scsi-pci,id=sc
        scsi-hd,drive=b2,bus=sc.0 scsi-cd,drive=b3,bus=sc.0 scsi-cd,bus=sc.0 virtio-serial-pci,id=vs
        virtserialport,chardev=c0,bus=vs.0 virtconsole,chardev=c1,bus=vs.0 virtio-balloon-pci virtio-rng-pci,rng=rng0
        virtio-crypto-pci,cryptodev=cr0 virtio-keyboard-pci virtio-mouse-pci virtio-tablet-pci virtio-gpu-pci
        virtio-iommu-pci virtio-sound-pci,audiodev=au0 virtio-multitouch-pci virtio-pmem-pci,memdev=pm0
        virtio-mem-pci,memdev=vm0 virtio-net-pci-non-transitional,netdev=h1 virtio-blk-pci-transitional,drive=b4""",
    "old": """e1000,netdev=h0 e1000e,netdev=h1 rtl8139,netdev=h2 pcnet,netdev=h3 ne2k_pci,netdev=h4 vmxnet3,netdev=h5
        lsi53c895a,id=lsi scsi-hd,drive=b0,bus=lsi.0 ahci,id=ah ide-cd,drive=b1,bus=ah.0 ide-hd,drive=b2,bus=ah.1
        ide-cd,bus=ah.2 isa-serial,chardev=c0 pci-serial,chardev=c1 isa-parallel,chardev=c2 i6300esb ib700 pvpanic
        pvpanic-pci AC97,audiodev=au0 intel-hda,id=hda hda-duplex,bus=hda.0,audiodev=au0 edu nvme,drive=b3,serial=1
        sdhci-pci vmgenid vmcoreinfo cirrus-vga isa-debugcon,chardev=c3 floppy am53c974 megasas mptsas1068 pvscsi""",
    "usb": """qemu-xhci,id=x usb-ehci,id=e piix3-usb-uhci,id=u usb-tablet,bus=x.0 usb-mouse,bus=x.0 usb-kbd,bus=x.0
        usb-storage,drive=b0,bus=x.0 usb-hub,bus=u.0 usb-serial,chardev=c0,bus=u.0 usb-ccid,bus=x.0
        usb-net,netdev=h0,bus=u.0 usb-braille,chardev=c1,bus=u.0 usb-wacom-tablet,bus=u.0 usb-bot,bus=x.0 usb-uas,bus=x.0
        usb-redir,chardev=c2,bus=x.0 qxl-vga nec-usb-xhci""",
    "bridges": """pcie-root-port,id=rp,chassis=1 pcie-pci-bridge,id=pb,bus=rp pci-bridge,chassis_nr=9,bus=pb
        ioh3420,chassis=2,id=io x3130-upstream,id=up,bus=io xio3130-downstream,bus=up,chassis=3 pxb-pcie,bus_nr=60
        i82801b11-bridge bochs-display secondary-vga ramfb pc-dimm,memdev=di0 nvdimm,memdev=nv0 intel-iommu
        ipmi-bmc-sim,id=bmc isa-ipmi-kcs,bmc=bmc applesmc pc-testdev ivshmem-plain,memdev=iv0""",
}
MEMORY = {"virtio": ["pm0", "vm0"], "bridges": ["di0", "nv0", "iv0"]}


def table():
    """(command, arguments) of each row that is a query."""
    text = Path("/src/handoff/commands.c").read_text()
    rows = re.findall(r'^\s*\{"([^"]+)",\s*(NULL|"[^"]*"),\s*(NULL|"[^"]*"),', text, re.M)
    expect(len(rows) > 20, "cannot read the table of commands")
    return [(name, {} if key == "NULL" else {key.strip('"'): value.strip('"')})
            for name, key, value in rows if name not in DEEDS]


def known(version):
    text = subprocess.run([binary(version), "-device", "help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r'^name "([^"]+)"', text, re.M))


class Asking:
    def __init__(self, qmp):
        self.qmp = qmp
        self.asked = self.refused = 0

    def ask(self, name, arguments):
        self.asked += 1
        try:
            return self.qmp.command(name, **arguments)
        except RuntimeError:  # an error is an answer, too
            self.refused += 1
            return None

    def properties(self, path):
        for p in self.ask("qom-list", {"path": path}) or []:
            if not p["type"].startswith(("child<", "link<")):
                self.ask("qom-get", {"path": path, "property": p["name"]})

    def everything(self):
        for name, arguments in table():
            if name == "qom-list-properties":
                self.ask(name, {"typename": "virtio-net-pci"})
            elif name not in ("qom-list", "qom-get", "x-query-virtio-queue-status"):
                self.ask(name, arguments)
        for device in self.ask("x-query-virtio", {}) or []:
            for queue in range(8):
                self.ask("x-query-virtio-queue-status", {"path": device["path"], "queue": queue})
        self.properties("/machine")
        for o in self.ask("qom-list", {"path": "/objects"}) or []:
            self.properties("/objects/" + o["name"])
        for cpu in self.ask("query-hotpluggable-cpus", {}) or []:
            if "qom-path" in cpu:
                self.properties(cpu["qom-path"])
        self.qmp.command("query-status")


def start(version, group, devices):
    """Returns the process and its QMP connection, or what it said."""
    path = Path("/run/lab/questions")
    path.unlink(missing_ok=True)
    memory = [w for m in MEMORY.get(group, []) for w in ("-object", f"memory-backend-memfd,id={m},size=128M,share=on")]
    process = subprocess.Popen(
        [binary(version), "-S", "-accel", "tcg", "-machine", "q35,nvdimm=on", "-m", "64M,slots=8,maxmem=2G", "-smp",
         "2,maxcpus=4", "-nodefaults", "-display", "none", "-qmp", f"unix:{path},server=on,wait=off", *COMMON.split(),
         *memory, *[w for d in devices for w in ("-device", d)]],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: process.poll() is not None or path.exists(), 30)
    with contextlib.suppress(OSError, ValueError):  # it listens before it has made its devices
        return process, Qmp(path, 60)
    process.kill()
    return None, process.communicate()[1]


def machine(version, group, devices):
    """With as many of the devices as it accepts: each start that fails names one that it rejects."""
    left_out = []
    while devices:
        process, result = start(version, group, devices)
        if process:
            return process, result, devices, left_out
        culprit = re.search(r"-device (\S+?): ", result)
        expect(culprit and culprit[1] in devices, f"it does not start: {result[-300:]}")
        devices = [d for d in devices if d != culprit[1]]
        left_out.append(culprit[1].split(",")[0])
    raise AssertionError("no device is left")


Path("/run/lab").mkdir(exist_ok=True)
for version in VERSIONS:
    there = known(version)
    for group, text in GROUPS.items():
        with test(f"{version} answers, and goes on: {group}") as t:
            process, qmp, devices, left_out = machine(version, group, [d for d in text.split() if d.split(",")[0] in there])
            try:
                asking = Asking(qmp)
                asking.everything()
                expect(process.poll() is None, "it has died")
            finally:
                process.kill()
                process.communicate()
            t.measured(f"{len(devices)} devices, {asking.asked} questions, {asking.refused} refused",
                       f"without {' '.join(left_out)}" if left_out else "")

    with VM(version, register=False) as vm, test(f"{version} answers, and goes on: vhost-vsock, in use") as t:
        with vm.traffic("echo") as traffic, vm.qmp() as qmp:
            asking = Asking(qmp)
            asking.everything()
            traffic.check()
            traffic.finish()
        t.measured(f"{asking.asked} questions, {asking.refused} refused")
end()
