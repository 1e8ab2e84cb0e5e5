"""Clients that are many, slow, greedy or gone cost others nothing: O5, O6, O7 and O9.

Always with smaller crowds and shorter limits; with VERA_TORTURE=1 with those of the checks.
"""

import os
import resource
import selectors
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.processes import eventually, slack_s
from tests.support.rounds import values
from tests.support.worker_process import WorkerProcess, worker

pytestmark = pytest.mark.system

TOKEN = "Authorization: Bearer s3cret\r\n"
KNOWN = {"WORKER_TOKEN": "s3cret"}
#: Not one of the addresses that the crowds come from.
NEWCOMER = "127.0.0.2"
JSON = "Content-Type: application/json\r\n"
MIB = 1 << 20


@contextmanager
def open_files(soft: int) -> Iterator[None]:
    """Limit what a worker that is started may open, or let this process open more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and soft > before[1]:
        pytest.skip(f"only {before[1]} files can be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def call(node: WorkerProcess, address: str = "127.0.0.1", timeout_s: float = 10) -> socket.socket:
    parts = urlsplit(node.url)
    assert parts.hostname
    return socket.create_connection((parts.hostname, parts.port), timeout_s, (address, 0))


def request(line: str, *headers: str) -> bytes:
    return f"{line} HTTP/1.1\r\nHost: localhost\r\n{''.join(headers)}\r\n".encode()


def answer_s(node: WorkerProcess) -> float:
    """Return how many seconds somebody new waits for an answer, from the connection on."""
    began = time.monotonic()
    with call(node, NEWCOMER) as connection:
        connection.sendall(request("GET /functions", TOKEN, "Connection: close\r\n"))
        received = connection.recv(100)
    assert received.startswith(b"HTTP/1.1 200"), received
    return time.monotonic() - began


def say(figures: str) -> None:
    """Show what was measured, with `pytest -s`."""
    sys.stdout.write(f"{figures}\n")


def open_files_of(node: WorkerProcess) -> int:
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def resident_mib(node: WorkerProcess) -> float:
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@values([(256, 700)], [(1024, 5000)], "crowds")
@pytest.mark.parametrize("sent", [b"", request("GET /events", TOKEN)], ids=["silent", "waiting"])
def test_a_newcomer_is_served_however_many_there_are(
    tmp_path: Path, crowds: list[tuple[int, int]], sent: bytes
) -> None:
    """O5: more connections than files can be open, and the log does not grow with them."""
    [(files, count)] = crowds
    with ExitStack() as stack:
        with open_files(files):
            node = stack.enter_context(worker(tmp_path, **KNOWN))
        stack.enter_context(open_files(count + 200))
        before, began, slowest = node.log.stat().st_size, time.monotonic(), 0.0
        for number in range(count):
            caller = stack.enter_context(call(node))
            with suppress(OSError):  # it may have been turned away
                caller.sendall(sent)
            if number % (count // 8) == 0:
                slowest = max(slowest, answer_s(node))
        slowest = max(slowest, answer_s(node))
        assert slowest < 1.0 + slack_s()
        assert node.log.stat().st_size - before < 1000 + 1700 * (time.monotonic() - began)
        opened = open_files_of(node)
        assert opened < files - 20
        say(f"{count} connections, {files} files: {slowest:.3f} s at most, {opened} open")


@values([(30, 1.0)], [(200, 30.0)], "crowds")
def test_the_slow_are_hung_up_on_and_nobody_else_is(
    tmp_path: Path, crowds: list[tuple[int, float]]
) -> None:
    """O6: those that are slow to send a body or to read an answer; heads: test_api_server."""
    [(count, send_timeout_s)] = crowds
    body_timeout_s = min(send_timeout_s, 10.0)
    limits = {
        "VERA_SERVER__BODY_TIMEOUT": str(body_timeout_s),
        "VERA_SERVER__SEND_TIMEOUT": str(send_timeout_s),
    }
    with worker(tmp_path, **KNOWN, **limits) as node, ExitStack() as stack:
        much = node.client.post(
            "/task/submit?wait=30",
            json={"payload": {"function": "huge_result", "args": [6]}},
            headers={"authorization": "Bearer s3cret"},
        ).json()
        assert much["status"] == "completed"
        alone_s = max(answer_s(node) for _ in range(50))
        slow_to_read = [stack.enter_context(call(node)) for _ in range(count)]
        for caller in slow_to_read:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.sendall(request(f"GET /task/{much['task_id']}", TOKEN))
        for caller in slow_to_read:
            with suppress(ConnectionResetError):  # this test was slow itself
                assert caller.recv(1) == b"H"
        slow_to_send = [stack.enter_context(call(node)) for _ in range(count)]
        began = time.monotonic()
        for caller in slow_to_send:
            caller.sendall(request("POST /task/submit", TOKEN, JSON, "Content-Length: 9\r\n"))
        among_s = max(answer_s(node) for _ in range(50))
        assert among_s < 2 * alone_s + slack_s()
        for caller in slow_to_send:
            caller.settimeout(body_timeout_s + slack_s() + 5)
            assert b" 408 " in caller.recv(1000)
        told_s = time.monotonic() - began
        assert told_s < body_timeout_s + slack_s() + 1
        at_most_s = send_timeout_s + slack_s() + 2
        gone_s = eventually(lambda: open_files_of(node) < count, at_most_s, "all are hung up on")
        say(f"{count} each: told after {told_s:.2f} s, gone after {gone_s + told_s:.2f} s;")
        say(f"others waited {alone_s:.3f} s at most before, {among_s:.3f} s among them")


@values([(100, MIB)], [(100, 16 * MIB)], "crowds")
@pytest.mark.parametrize("token", ["", "Authorization: Bearer wrong\r\n"])
def test_bodies_of_those_without_a_token_take_no_memory(
    tmp_path: Path, crowds: list[tuple[int, int]], token: str
) -> None:
    """O7: a hundred of them push as much as they can."""
    [(count, size)] = crowds
    with worker(tmp_path, **KNOWN) as node, ExitStack() as stack:
        answer_s(node)
        before = most = resident_mib(node)
        selector = stack.enter_context(selectors.DefaultSelector())
        pushing = {}
        for _ in range(count):
            caller = stack.enter_context(call(node))
            caller.sendall(request("POST /task/submit", token, JSON, f"Content-Length: {size}\r\n"))
            caller.setblocking(False)
            selector.register(caller, selectors.EVENT_READ | selectors.EVENT_WRITE)
            pushing[caller] = b""
        refused = 0
        while pushing:
            for key, events in selector.select():
                caller = key.fileobj
                assert isinstance(caller, socket.socket)
                if _push(caller, events, pushing):
                    selector.unregister(caller)
                    refused += b" 401 " in pushing.pop(caller)
            most = max(most, resident_mib(node))
        assert refused == count
        assert most - before < 64
        say(f"{before:.0f} MiB before, {most:.0f} MiB at most")


def _push(caller: socket.socket, events: int, received: dict[socket.socket, bytes]) -> bool:
    """Send and receive what can be; return whether the worker has hung up."""
    try:
        if events & selectors.EVENT_READ:
            piece = caller.recv(65536)
            received[caller] += piece
            return not piece
        caller.send(b"x" * 65536)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def _far_away(stack: ExitStack, here: str, there: str) -> int:
    """Make a machine at address `there`, which has us at `here`; return whose network it is."""
    sleeper = subprocess.Popen(["unshare", "-n", "sleep", "600"])
    stack.callback(sleeper.wait)
    stack.callback(sleeper.kill)
    name, pid = f"vera{os.getpid()}", str(sleeper.pid)
    inside = ["nsenter", "-t", pid, "-n"]
    network = Path(f"/proc/{pid}/ns/net")
    eventually(lambda: network.stat().st_ino != Path("/proc/self/ns/net").stat().st_ino, 5, "a net")
    for command in (
        ["ip", "link", "add", name, "type", "veth", "peer", "name", "far", "netns", pid],
        ["ip", "addr", "add", f"{here}/30", "dev", name],
        ["ip", "link", "set", name, "up"],
        [*inside, "ip", "addr", "add", f"{there}/30", "dev", "far"],
        [*inside, "ip", "link", "set", "far", "up"],
    ):
        subprocess.run(command, check=True)
    return sleeper.pid


@pytest.mark.torture
@pytest.mark.timeout(200)
@pytest.mark.skipif(os.environ.get("VERA_TORTURE") != "1", reason="a minute: VERA_TORTURE=1")
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and ip")
def test_clients_that_vanish_are_noticed_within_a_minute(tmp_path: Path) -> None:
    """O9: they hold long polls and event streams, and then their cable is cut."""
    here, there = "198.18.77.1", "198.18.77.2"
    code = (
        "import socket, sys, time\n"
        "host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])\n"
        "held = [socket.create_connection((host, port)) for _ in range(count)]\n"
        "for i, each in enumerate(held):\n"
        "    each.sendall(sys.argv[4 + i % 2].replace('|', '\\r\\n').encode())\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    with ExitStack() as stack:
        pid = _far_away(stack, here, there)
        node = stack.enter_context(worker(tmp_path, WORKER_HOST=here, **KNOWN))
        headers = {"authorization": "Bearer s3cret"}
        body = {"payload": {"function": "sleep", "args": [600]}}
        task_id = node.client.post("/task/submit", json=body, headers=headers).json()["task_id"]
        idle = open_files_of(node)
        ends = f" HTTP/1.1|Host: x|{TOKEN.strip()}||"
        lines = [f"GET /task/{task_id}?wait=300{ends}", f"GET /events{ends}"]
        words = [sys.executable, "-c", code, here, str(urlsplit(node.url).port), "40", *lines]
        far = stack.enter_context(
            subprocess.Popen(["nsenter", "-t", str(pid), "-n", *words], stdout=subprocess.PIPE)
        )
        stack.callback(far.kill)
        assert far.stdout is not None
        assert far.stdout.readline() == b"held\n"
        eventually(lambda: open_files_of(node) >= idle + 40, 10, "all are held")
        cut = ["nsenter", "-t", str(pid), "-n", "ip", "link", "set", "far", "down"]
        subprocess.run(cut, check=True)
        took_s = eventually(lambda: open_files_of(node) <= idle, 70, "all are let go")
        assert took_s < 60
        say(f"40 that vanished were let go within {took_s:.1f} s")
