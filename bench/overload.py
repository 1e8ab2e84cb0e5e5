"""What becomes of a worker that is offered ten times what it can do, and of its clients (O1).

First the peak is measured: a queue that is always filled. Then, for a minute each,

- strangers come ten times as often as tasks end, and do not come back when they are refused;
- a crowd that wants ten times as much does as it is told: who is refused waits for `Retry-After`,
  and up to a second more, for those who march in step all come at once.
"""

import argparse
import heapq
import random
import selectors
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

sys.path[0] = str(Path(__file__).parents[1])  # http.py beside this must not hide the library's

import httpx

from bench.answer import parse
from bench.report import machine
from bench.running_worker import Running, running_worker

#: Two executors that do one task of 40 ms after the other: 50 tasks a second, at little CPU.
TASK_S: Final = 0.04
SETTINGS: Final = {"MAX_WORKERS": "2", "MIN_WORKERS": "2", "QUEUE_SIZE": "100"}
BODY: Final = b'{"payload":{"function":"sleep","args":[%g]}}' % TASK_S
REQUEST: Final = (
    b"POST /task/submit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
CONNECTIONS: Final = 50
TIMES: Final = 10
ACCEPTED: Final = 202
REFUSED: Final = (429, 503)
#: Seconds between an acceptance and what the same client of the crowd wants next.
THINK_S: Final = 1.0


@dataclass
class Seen:
    """What clients saw in one phase."""

    offered: int = 0
    latencies: list[float] = field(default_factory=list)  # of what was accepted
    refusals: int = 0
    waits: list[int] = field(default_factory=list)  # what the refused were told
    #: Of those who came back for the first time as told: how many, and how many got in.
    returned: int = 0
    got_in: int = 0


@dataclass(order=True)
class Client:
    """One who wants a task done, at `at`."""

    at: float
    refused: int = 0
    loyal: bool = False


class Crowd:
    """Clients whose time comes, on a few connections; latency counts from when it came."""

    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._idle: list[socket.socket] = []
        self._received: dict[socket.socket, bytes] = {}
        self._serving: dict[socket.socket, Client] = {}
        self._port = port
        for _ in range(CONNECTIONS):
            self._connect()

    def run(self, clients: list[Client], seconds: float) -> Seen:
        """Let them do what they want for so long; `at` counts from now."""
        seen, began = Seen(), time.perf_counter()
        heapq.heapify(clients)
        while (now := time.perf_counter() - began) < seconds or self._serving:
            while self._idle and clients and clients[0].at <= now < seconds:
                self._ask(heapq.heappop(clients), seen)
            due = clients[0].at - now if clients and self._idle else 0.05
            for key, _ in self._selector.select(min(0.05, max(0.0, due))):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock not in self._received:
                    continue
                back = self._answered(sock, seen, began)
                if back is not None:
                    heapq.heappush(clients, back)
        return seen

    def close(self) -> None:
        """Hang up."""
        for sock in self._received:
            sock.close()
        self._selector.close()

    def _connect(self) -> None:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._idle.append(sock)
        self._received[sock] = b""
        self._selector.register(sock, selectors.EVENT_READ)

    def _hung_up(self, sock: socket.socket) -> Client | None:
        """The server has let a connection go that it had no request of; one may be on its way."""
        self._selector.unregister(sock)
        del self._received[sock]
        sock.close()
        if sock in self._idle:
            self._idle.remove(sock)
        self._connect()
        return self._serving.pop(sock, None)

    def _ask(self, client: Client, seen: Seen) -> None:
        sock = self._idle.pop()
        seen.offered += 1
        self._serving[sock] = client
        with suppress(ConnectionError):  # it will be seen that it is gone
            sock.sendall(REQUEST)

    def _answered(self, sock: socket.socket, seen: Seen, began: float) -> Client | None:
        """Take an answer in; return its client if that wants to come again."""
        data = sock.recv(1 << 16)
        if not data:
            return self._hung_up(sock)
        self._received[sock] += data
        answer = parse(self._received[sock])
        if answer is None:
            return None
        head, self._received[sock] = self._received[sock], b""
        self._idle.append(sock)
        client, now = self._serving.pop(sock), time.perf_counter() - began
        if client.refused == 1:
            seen.returned += 1
            seen.got_in += answer.status == ACCEPTED
        if answer.status == ACCEPTED:
            seen.latencies.append(now - client.at)
            return Client(now + THINK_S, loyal=True) if client.loyal else None
        if answer.status not in REFUSED:
            raise ValueError(f"status {answer.status}: {answer.body!r}")
        seen.refusals += 1
        seen.waits.append(_retry_after(head))
        if not client.loyal:
            return None
        again = now + seen.waits[-1] + random.random()
        return Client(again, client.refused + 1, loyal=True)


def _retry_after(answer: bytes) -> int:
    """Return the whole seconds of the header; there must be one."""
    for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"retry-after":
            return int(value)
    raise ValueError(f"refused without Retry-After: {answer!r}")


def phase(worker: Running, name: str, clients: list[Client], seconds: float) -> tuple[float, Seen]:
    """Run one phase, say what was seen, and return the tasks that completed per second."""
    crowd, url = Crowd(worker.port), f"http://127.0.0.1:{worker.port}"
    before, began = completed(url), time.perf_counter()
    try:
        seen = crowd.run(clients, seconds)
    finally:
        crowd.close()
    goodput = (completed(url) - before) / (time.perf_counter() - began)
    ended = time.perf_counter()
    while (left := httpx.get(f"{url}/health").json())["queue_size"] or left["active_tasks"]:
        time.sleep(0.05)
    lost = len(seen.latencies) - (completed(url) - before)
    latencies = sorted(seen.latencies)
    print(
        f"{name}: offered {seen.offered / seconds:.0f}/s, goodput {goodput:.1f}/s; accepted "
        f"{len(latencies)}, p50 {1000 * latencies[len(latencies) // 2]:.1f} ms, "
        f"p99 {1000 * latencies[len(latencies) * 99 // 100]:.1f} ms; refused {seen.refusals}, told "
        f"{min(seen.waits, default=0)} to {max(seen.waits, default=0)} s; lost {lost}; "
        f"idle and {left['status']} {time.perf_counter() - ended:.1f} s later"
    )
    return goodput, seen


def completed(url: str) -> int:
    """Return how many tasks have completed so far."""
    return int(httpx.get(f"{url}/metrics").json()["tasks_completed"])


def main() -> None:
    """Measure the three phases one after the other, in one worker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each phase")
    seconds = parser.parse_args().seconds
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    with running_worker(**SETTINGS) as worker:
        nominal = int(SETTINGS["MAX_WORKERS"]) / TASK_S
        every = 1 / (1.2 * nominal)
        steady = [Client(n * every) for n in range(int(seconds / 4 / every))]
        peak, _ = phase(worker, "peak", steady, seconds / 4)
        memory = worker.process.memory_info().rss
        every = 1 / (TIMES * peak)
        flood = [Client(n * every) for n in range(int(seconds / every))]
        goodput, _ = phase(worker, "strangers", flood, seconds)
        print(f"  goodput {goodput / peak:.1%} of the peak")
        crowd = [Client(n * every, loyal=True) for n in range(int(TIMES * peak * THINK_S))]
        goodput, seen = phase(worker, "crowd", crowd, seconds)
        print(
            f"  goodput {goodput / peak:.1%} of the peak; {seen.got_in} of {seen.returned} "
            f"({seen.got_in / max(1, seen.returned):.0%}) got in when they first came back"
        )
        grown = (worker.process.memory_info().rss - memory) / 2**20
        print(f"memory {grown:+.1f} MiB")


if __name__ == "__main__":
    main()
