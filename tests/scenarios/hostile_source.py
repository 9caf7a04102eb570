# SPDX-License-Identifier: LGPL-2.1-or-later
"""A source that is no QEMU but answers like one, and misbehaves. For hostile.py, which runs it as the VM's user by a copy of
the interpreter whose name is qemu-system-x86_64:

  qemu-system-x86_64 hostile_source.py DIRECTORY PADDING

The **body** is the process that is registered with cprd. It has the device, maps the guest's memory, and overwrites its
command line with a QEMU's, which is as long as its own: that is what PADDING is for. The **child** is a real QEMU, which has
the guest. The **voice** is a process of its own, so that it can talk on when the body is stopped: it speaks QMP to cprd and
to the child, and changes what does not fit. Only the body may connect to cprd's relay, so it does that for the voice.

DIRECTORY/config says what to start, DIRECTORY/plan, read anew for each QMP connection, how to misbehave:
[{"do": NAME, "at": N}, …], where N is a number of a question, or the name of a command. What was done is told in
DIRECTORY/fired.
"""

import array
import ctypes
import fcntl
import json
import mmap
import os
import random
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

DEVICE_FD, CHILD_DEVICE_FD = 30, 31
VHOST_SET_OWNER, VHOST_VSOCK_SET_GUEST_CID = 0xAF01, 0x4008AF60
SYS_CLONE, SYS_EXIT, SYS_PTRACE, CLONE_VFORK = 56, 60, 101, 0x4000
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
PTRACE_SEIZE = 0x4206
PR_SET_NAME, PR_SET_PTRACER = 15, 0x59616D61
SCM_MAX = 253  # fds that the kernel passes at once
FDS_MAX = 20000
SEND_SECONDS = 3
HOLD_SECONDS = 30
HANDOFFS = Path("/run/cprd/handoffs")

libc = ctypes.CDLL(None, use_errno=True)


def recv_with_fds(s, size=65536, n=SCM_MAX):
    fds = array.array("i")
    data, ancillary, _, _ = s.recvmsg(size, socket.CMSG_SPACE(n * fds.itemsize))
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
    return data, list(fds)


# ---- the body ----

def overwrite_command_line(data):
    """Of the same length as what is there, so that it ends where /proc/PID/cmdline ends."""
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    ctypes.memmove(start, data[:end - start], min(len(data), end - start))


class Body:
    def __init__(self, directory, config):
        self.directory, self.config = directory, config
        self.cmdline = b"".join(word.encode() + b"\0" for word in config["claimed"])
        overwrite_command_line(self.cmdline)
        self.held = []
        self.ending = threading.Event()

    def own_device(self):
        """Its owner is this process, not the child: then it can really be handed on."""
        if self.config["owner"] == "body":
            fcntl.ioctl(DEVICE_FD, VHOST_SET_OWNER)
            fcntl.ioctl(DEVICE_FD, VHOST_VSOCK_SET_GUEST_CID, self.config["cid"].to_bytes(8, "little"))

    def start_child(self):
        def use_own_device():
            if self.config["owner"] == "body":
                os.dup2(CHILD_DEVICE_FD, DEVICE_FD)
            os.set_inheritable(DEVICE_FD, True)
        self.child = subprocess.Popen(self.config["child"], pass_fds=[DEVICE_FD], preexec_fn=use_own_device)

    def connect_child(self):
        path = self.directory / "child.qmp"
        while self.child.poll() is None:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(str(path))
                return s
            except OSError:
                s.close()
                time.sleep(0.02)
        sys.exit("the child has ended")

    def map_memory(self, ramblocks):
        """The guest's memory at addresses of our own. Returns what to put in the child's answers for its addresses."""
        maps, files = Path(f"/proc/{self.child.pid}/maps").read_text().splitlines(), {}
        for fd in Path(f"/proc/{self.child.pid}/fd").iterdir():
            try:
                files[fd.stat().st_ino] = fd
            except OSError:
                pass
        replaced = {}
        for address in re.findall(r"0x[0-9a-f]{16}(?=  r[ow])", ramblocks):
            for line in maps:
                (begin, end), (_, offset, _, inode) = line.split()[0].split("-"), line.split()[1:5]
                if int(begin, 16) <= int(address, 16) < int(end, 16) and int(inode) in files:
                    fd = os.open(files[int(inode)], os.O_RDWR)
                    piece = mmap.mmap(fd, int(end, 16) - int(begin, 16), offset=int(offset, 16))
                    os.close(fd)
                    self.held.append(piece)
                    mine = ctypes.addressof(ctypes.c_char.from_buffer(piece)) + int(address, 16) - int(begin, 16)
                    replaced[address] = f"0x{mine:016x}"
        return replaced

    def start_vcpu(self):
        """A thread for the answers to name: those of the child are another process's."""
        ids = []
        self.vcpu = threading.Thread(target=lambda: (ids.append(threading.get_native_id()), self.ending.wait()),
                                     daemon=True)
        self.vcpu.start()
        while not ids:
            time.sleep(0.01)
        return ids[0]

    def serve(self, control):
        """Does what the voice tells it to. Waits in a system call, as a QEMU does."""
        while order := control.recv(65536):
            order = json.loads(order)
            if order["do"] == "connect":
                self.connect_for(control, order["path"])
                continue
            try:
                BODY[order["do"]](self)
            except OSError as e:
                print(f"{order['do']}: {e}", flush=True)

    def connect_for(self, control, path):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(path)
                socket.send_fds(control, [b"ok"], [s.fileno()])
            except OSError as e:
                control.send(str(e).encode())


def toggle_command_line(body):
    """What it says changes all the time."""
    other = body.cmdline.replace(b"guest-cid=77", b"guest-cid=78").replace(b"\0ram0\0", b"\0ram1\0").replace(b"-cpu", b"-vga")

    def toggle():
        while not body.ending.is_set():
            overwrite_command_line(other)
            time.sleep(random.uniform(0, 0.01))
            overwrite_command_line(body.cmdline)
            time.sleep(random.uniform(0, 0.01))
    threading.Thread(target=toggle, daemon=True).start()


def replace_device(body):
    fd = os.open("/dev/null", os.O_RDWR)
    os.dup2(fd, DEVICE_FD)


def replace_device_by_another(body):
    os.dup2(CHILD_DEVICE_FD, DEVICE_FD)


def fork_holders(body):
    for _ in range(8):
        if os.fork() == 0:
            time.sleep(HOLD_SECONDS)
            os._exit(0)


def open_many(body):
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], FDS_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        while True:
            os.dup(0)
    except OSError:
        pass


def open_far(body):
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], FDS_MAX)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.dup2(0, most - 1)


def lower_limits(body):
    resource.setrlimit(resource.RLIMIT_NOFILE, (DEVICE_FD + 2, DEVICE_FD + 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_STACK, (65536, 65536))


def unshare(body):
    """Only a process with one thread may."""
    body.ending.set()
    body.vcpu.join()
    time.sleep(0.05)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0:
        print(f"unshare: {os.strerror(ctypes.get_errno())}", flush=True)


def make_threads(body):
    def rename():
        while not body.ending.is_set():
            libc.prctl(PR_SET_NAME, f"x) R {random.randrange(10 ** 6)}\n".encode(), 0, 0, 0)
            body.ending.wait(random.uniform(0.01, 0.2))
    for _ in range(100):
        threading.Thread(target=rename, daemon=True).start()


def vfork(body):
    """A thread that waits for its vfork(2) cannot be stopped by a tracer."""
    if libc.syscall(SYS_CLONE, CLONE_VFORK | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        time.sleep(HOLD_SECONDS)
        os._exit(0)


def be_traced(body):
    libc.prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    pid = os.getpid()
    if os.fork() == 0:
        libc.syscall(SYS_PTRACE, PTRACE_SEIZE, pid, 0, 0)
        time.sleep(HOLD_SECONDS)
        os._exit(0)


def execute_setuid(body):
    """Becomes a program of root's, which is still the process that was registered."""
    for program in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount"):
        if os.path.exists(program):
            os.execv(program, body.config["claimed"][:1] + ["-"])


BODY = {
    "toggle-argv": toggle_command_line,
    "close-device": lambda body: os.close(DEVICE_FD),
    "replace-device": replace_device,
    "another-device": replace_device_by_another,
    "fork": fork_holders,
    "many-fds": open_many,
    "far-fd": open_far,
    "low-limits": lower_limits,
    "unshare": unshare,
    "threads": make_threads,
    "vfork": vfork,
    "be-traced": be_traced,
    "setuid": execute_setuid,
    "stop": lambda body: os.kill(os.getpid(), signal.SIGSTOP),
    "leader-exit": lambda body: libc.syscall(SYS_EXIT, 0),
    "exit": lambda body: os._exit(0),
}


# ---- what is said ----

def wrong_type(text, name):
    return b'{"return": %s}\n' % random.choice([b"[]", b"{}", b"1e999", b"null", b'"x"', b"[[{}],[1]]", b"-1", b"true",
                                                b'[{"id":1},"a",null]', b"99999999999999999999999", b'{"status":[]}'])


def different(text, name):
    """Of the right shape, and not true."""
    text = re.sub(rb"\b(true|false)\b", lambda m: b"false" if m[0] == b"true" else b"true", text)
    return re.sub(rb"\b\d{1,9}\b", lambda m: str(int(m[0]) + random.randrange(3)).encode(), text)


def truncated(text, name):
    return text[:random.randrange(1, len(text))] + b"\n"


def not_text(text, name):
    at = random.randrange(len(text))
    return text[:at] + random.choice([b"\0", b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\x1b[2J"]) + text[at:]


def refusal(text, name):
    return random.choice([b'{"error": {"class": "GenericError", "desc": "%s"}}\n' % (b"no " * 200000),
                          b'{"error": {"desc": "\\u001b[31mno\\u0000"}}\n', b'{"error": {}}\n', b'{"error": 1}\n'])


SAID = {
    "wrong-type": wrong_type,
    "different": different,
    "truncated": truncated,
    "not-text": not_text,
    "refuse": refusal,
    "huge": lambda text, name: b'{"return": "%s"}\n' % (b"x" * 1000000),
    "endless": lambda text, name: b'{"return": "' + b"x" * (8 << 20),
    "deep": lambda text, name: b'{"return": ' + b"[" * 100000 + b"]" * 100000 + b"}\n",
    "many-values": lambda text, name: b'{"return": [' + b"{}," * 300000 + b"{}]}\n",
    "many-members": lambda text, name: b'{"return": {' + b",".join(b'"%d": 1' % i for i in range(60000)) + b"}}\n",
    "twice": lambda text, name: text * 2,
    "never": lambda text, name: b"",
}


def fake_event(name, **data):
    now = time.time()
    stamp = {"seconds": int(now) + random.choice([-10 ** 9, 0, 10 ** 9]), "microseconds": random.randrange(10 ** 6)}
    return json.dumps({"timestamp": stamp, "event": name, "data": data}).encode() + b"\n"


def flood_of_events():
    return b"".join(fake_event("X" * random.randrange(80), more="y" * 1000, n=i) for i in range(3000))


def lying_events():
    names = ["STOP", "RESUME", "SHUTDOWN", "RESET", "MIGRATION", "GUEST_PANICKED", "WATCHDOG", "POWERDOWN"]
    random.shuffle(names)
    return b"".join(fake_event(name, status=random.choice(["completed", "failed", "cancelled", "setup", "x" * 70]),
                               action="none", reason="guest-shutdown") for name in names)


# ---- the paths ----

def put_in_place(path, precious):
    """Something else under that name: a link to a file of root's, a FIFO, a directory, or nothing."""
    aside = path.with_name(f"aside-{random.randrange(10 ** 9)}")
    path.rename(aside)
    kind = random.choice(["link", "socket", "fifo", "directory", "nothing", "loop"])
    if kind in ("link", "socket"):
        path.symlink_to(precious / ("file" if kind == "link" else "socket"))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
        (path / "x").touch()
    elif kind == "loop":
        path.symlink_to(path.name)


def swap_directory(directory, precious):
    directory.rename(directory.with_name("aside"))
    directory.symlink_to(precious)


def swap_as_they_come(directory, precious):
    """Whatever cprd-handoff makes beside our sockets, and in the channel that is ours."""
    end = time.monotonic() + HOLD_SECONDS
    while time.monotonic() < end:
        for place in [directory, *HANDOFFS.glob("*/channel")]:
            try:
                for path in place.iterdir():
                    if ".cprd-" in path.name or place != directory:
                        put_in_place(path, precious)
            except OSError:
                pass
        time.sleep(0.001)


def fill_channel():
    """What is in the way when it is to be removed."""
    for place in HANDOFFS.glob("*/channel"):
        deep = place
        for _ in range(20):
            deep = deep / "d"
            deep.mkdir(exist_ok=True)
            (deep / "f").touch()
            (deep / "l").symlink_to("/")


def in_background(act, *arguments):
    if os.fork() == 0:
        try:
            act(*arguments)
        finally:
            os._exit(0)


def hinder_destinations(mine):
    """The other QEMUs of our user are ours to stop or kill."""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and int(process.name) not in mine and process.stat().st_uid == os.getuid() and \
                    "qemu-system" in (process / "comm").read_text():
                os.kill(int(process.name), random.choice([signal.SIGSTOP, signal.SIGKILL, signal.SIGSEGV]))
        except OSError:
            pass


# ---- the voice ----

class Voice:
    def __init__(self, body, listener, child, control, vcpu, replaced):
        self.directory, self.config = body.directory, body.config
        self.child_pid = body.child.pid
        self.mine = {os.getppid(), body.child.pid, os.getpid()}
        self.listener, self.child, self.control = listener, child, control
        self.vcpu, self.replaced = vcpu, replaced
        self.client = self.relay = self.from_child = self.cpr = None
        self.greeting = body.greeting
        self.from_cprd = self.child_text = b""
        self.forget()

    def forget(self):
        self.acts, self.said, self.n, self.pending = [], [], 0, []
        self.hangs = self.with_fds = self.relay_act = None

    def read_plan(self):
        """Of the same handoff as before, if it is the same: the questions are counted on."""
        plan = json.loads((self.directory / "plan").read_text())
        if plan.get("id") != getattr(self, "plan", None):
            self.plan = plan.get("id")
            self.forget()
            self.acts = list(plan.get("acts", []))
            random.seed(plan.get("seed"))

    def fired(self, act):
        with open(self.directory / "fired", "a") as f:
            f.write(f"{act['do']} at {self.n}\n")

    # What cprd says.

    def accept(self):
        client, _ = self.listener.accept()
        if self.client:
            client.close()
            return
        self.client, self.from_cprd, self.pending = client, b"", []
        client.settimeout(SEND_SECONDS)
        self.read_plan()
        self.fire("greeting")
        self.send(self.change(self.greeting, "greeting"))

    def hear(self):
        data, fds = recv_with_fds(self.client)
        if not data:
            self.hang_up()
            return
        self.from_cprd += data
        while self.client:
            try:
                text = self.from_cprd.decode().lstrip()
                command, end = json.JSONDecoder().raw_decode(text)
            except ValueError:
                break
            self.from_cprd = text[end:].encode()
            self.obey(command, fds)
            fds = []
        for fd in fds:
            os.close(fd)

    def obey(self, command, fds):
        self.n += 1
        name = command.get("execute", "")
        self.fire(self.n, name)
        if self.hangs or not self.client:
            return
        if name == "qmp_capabilities":
            self.send(self.change(b'{"return": {}}\n', name))
            return
        if name == "migrate":
            command = self.take_relay(command)
        self.pending.append(name)
        socket.send_fds(self.child, [json.dumps(command).encode() + b"\n"], fds[:1]) if fds else \
            self.child.sendall(json.dumps(command).encode() + b"\n")
        for fd in fds:
            os.close(fd)

    # What it is told.

    def hear_child(self):
        data = self.child.recv(1 << 20)
        if not data:
            sys.exit("the child has ended")
        self.child_text += data
        *lines, self.child_text = self.child_text.split(b"\n")
        for line in lines:
            line += b"\n"
            if b'"event"' in line[:120] or not self.pending:
                self.send(line) if b'"event"' in line and not self.hangs else None
            else:
                name = self.pending.pop(0)
                self.send(self.change(self.as_mine(line), name))

    def as_mine(self, line):
        for theirs, mine in self.replaced.items():
            line = line.replace(theirs.encode(), mine.encode())
        for form in ("%d", "%#x"):  # info qtree gives both
            line = line.replace((form % self.config["child-cid"]).encode(), (form % self.config["cid"]).encode())
        # Not 0, which is a place in the topology.
        return re.sub(rb'"thread-id": [1-9]\d*', b'"thread-id": %d' % self.vcpu, line)

    def change(self, text, name):
        for act in list(self.said):
            text = SAID[act["do"]](text, name) if text else text
            if not act.get("on"):
                self.said.remove(act)
        return text

    def send(self, text):
        if not self.client or self.hangs or not text:
            return
        try:
            if self.with_fds:
                socket.send_fds(self.client, [text[:1]], self.with_fds)
                text = text[1:]
            self.client.sendall(text)
        except OSError:
            self.hang_up()

    def hang_up(self):
        if self.client:
            self.client.close()
        self.client = None

    # The relay: the child's CPR state comes to us, and goes on by the body.

    def take_relay(self, command):
        text = json.dumps(command)
        found = re.search(r'"path": "([^"]*/relay)"', text)
        if not found:
            return command
        mine = self.directory / "cpr"
        mine.unlink(missing_ok=True)
        self.cpr = socket.socket(socket.AF_UNIX)
        self.cpr.bind(str(mine))
        self.cpr.listen()
        if self.relay_act != "relay-never":
            self.control.send(json.dumps({"do": "connect", "path": found[1]}).encode())
            if select.select([self.control], [], [], SEND_SECONDS)[0]:
                said, fds = recv_with_fds(self.control)
                self.relay = socket.socket(fileno=fds[0]) if fds else print(said, flush=True)
        return json.loads(text.replace(found[1], str(mine)))

    def accept_cpr(self):
        self.from_child, _ = self.cpr.accept()
        self.cpr.close()
        self.cpr = None
        if self.relay and self.relay_act == "relay-flood":
            self.flood_relay()

    def flood_relay(self):
        fds = [os.open("/dev/zero", os.O_RDWR)] * SCM_MAX
        try:
            self.relay.settimeout(SEND_SECONDS)
            for _ in range(50):
                socket.send_fds(self.relay, [b"x" * 60000], fds)
        except OSError:
            pass
        os.close(fds[0])

    def pass_state(self):
        data, fds = recv_with_fds(self.from_child)
        if not self.relay:
            pass
        elif data and self.relay_act == "relay-garbage":
            self.relay.sendall(bytes(random.randrange(256) for _ in data))
        elif data:
            socket.send_fds(self.relay, [data], fds) if fds else self.relay.sendall(data)
        else:
            self.relay.shutdown(socket.SHUT_WR)
        for fd in fds:
            os.close(fd)
        return bool(data)

    def end_relay(self):
        for s in (self.relay, self.from_child):
            if s:
                s.close()
        self.relay = self.from_child = None

    # What it does.

    def fire(self, *moments):
        for act in [a for a in self.acts if a.get("at") in moments]:
            self.acts.remove(act)
            self.fired(act)
            self.do(act)

    def do(self, act):
        name, precious = act["do"], Path(self.config["precious"])
        if name in SAID:
            self.said.append(act)
        elif name in BODY:
            self.control.send(json.dumps(act).encode())
        elif name.startswith("relay-"):
            self.relay_act = name
        else:
            VOICE[name](self, precious)

    def run(self):
        passing = True
        while True:
            wanted = [self.listener, self.child, self.client, self.cpr, self.relay, self.from_child if passing else None]
            ready, _, _ = select.select([s for s in wanted if s], [], [])
            if self.listener in ready:
                self.accept()
            if self.client in ready and self.client:
                self.hear()
            if self.child in ready:
                self.hear_child()
            if self.cpr in ready and self.cpr:
                self.accept_cpr()
                passing = True
            if self.from_child in ready and self.from_child and passing:
                passing = self.pass_state()
            if self.relay in ready and self.relay:
                self.fire("hang-up")
                self.end_relay()


def pass_many_fds(voice, precious):
    voice.with_fds = [os.open("/dev/null", os.O_RDWR)] * SCM_MAX


def hang(voice, precious):
    voice.hangs = True


VOICE = {
    "hang": hang,
    "close": lambda voice, precious: voice.hang_up(),
    "fds": pass_many_fds,
    "events": lambda voice, precious: voice.send(flood_of_events()),
    "lying-events": lambda voice, precious: voice.send(lying_events()),
    "swap-qmp": lambda voice, precious: put_in_place(voice.directory / "qmp", precious),
    "swap-directory": lambda voice, precious: swap_directory(voice.directory, precious),
    "swap-new": lambda voice, precious: in_background(swap_as_they_come, voice.directory, precious),
    "fill-channel": lambda voice, precious: fill_channel(),
    "hinder": lambda voice, precious: hinder_destinations(voice.mine),
    "kill-child": lambda voice, precious: os.kill(voice.child_pid, signal.SIGKILL),
}
RELAY = ["relay-never", "relay-flood", "relay-garbage"]


def ask(child, lines, command):
    child.sendall(command + b"\n")
    while b'"return"' not in (line := lines.readline()):
        pass
    return line


def main():
    directory = Path(sys.argv[1])
    config = json.loads((directory / "config").read_text())
    body = Body(directory, config)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "qmp"))
    listener.listen()
    body.own_device()
    body.start_child()
    child = body.connect_child()
    lines = child.makefile("rb")
    body.greeting = lines.readline()
    ask(child, lines, b'{"execute": "qmp_capabilities"}')
    blocks = ask(child, lines, b'{"execute": "human-monitor-command", "arguments": {"command-line": "info ramblock"}}')
    replaced = body.map_memory(json.loads(blocks)["return"])
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    numbers = socket.socketpair()
    if os.fork() == 0:
        vcpu = int(numbers[1].recv(64))
        Voice(body, listener, child, its, vcpu, replaced).run()
    numbers[0].send(str(body.start_vcpu()).encode())
    its.close()
    child.close()
    (directory / "ready").touch()
    body.serve(mine)


if __name__ == "__main__":
    main()
