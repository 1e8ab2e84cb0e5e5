"""An HTTP load generator that costs little itself: raw sockets, one thread, prebuilt requests."""

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.answer import Answer, parse

STALL_S = 20.0
"""Silence for so long, on all connections together, means that the server hangs."""

RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True)
class Load:
    """What one drive saw; bodies are in the order of the requests, and empty unless kept."""

    requests: int
    elapsed_s: float
    p50_s: float
    p99_s: float
    client_cpu: float
    """Cores that the generator itself used: near 1, it measures itself."""

    bodies: list[bytes]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.elapsed_s


def drive(
    port: int,
    request: bytes | Sequence[bytes],
    requests: int,
    connections: int,
    expect: int,
    *,
    keep: bool = False,
    host: str = "127.0.0.1",
) -> Load:
    """Send so many requests, one in flight per connection, cycling through those given."""
    cycle = [request] if isinstance(request, bytes) else request
    drive_ = _Drive((host, port), cycle, requests, expect, keep=keep)
    try:
        return drive_.run(min(connections, requests))
    finally:
        drive_.close()


class _Connection:
    __slots__ = ("index", "received", "sent_at", "sock", "unsent")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.index = 0
        self.sent_at = 0.0
        self.unsent = b""
        self.received = b""


class _Drive:
    def __init__(
        self,
        address: tuple[str, int],
        cycle: Sequence[bytes],
        total: int,
        expect: int,
        *,
        keep: bool,
    ) -> None:
        self._address = address
        self._cycle = cycle
        self._total = total
        self._expect = expect
        self._keep = keep
        self._selector = selectors.DefaultSelector()
        self._asked = 0
        self._answered = 0
        self._latencies: list[float] = []
        self._bodies = [b""] * total if keep else []

    def run(self, connections: int) -> Load:
        links = [self._connect() for _ in range(connections)]
        cpu, began = time.process_time(), time.perf_counter()
        for link in links:
            self._ask(link)
        while self._answered < self._total:
            self._turn()
        elapsed = time.perf_counter() - began
        cpu = time.process_time() - cpu
        ordered = sorted(self._latencies)
        return Load(
            requests=self._total,
            elapsed_s=elapsed,
            p50_s=ordered[len(ordered) // 2],
            p99_s=ordered[len(ordered) * 99 // 100],
            client_cpu=cpu / elapsed,
            bodies=self._bodies,
        )

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _turn(self) -> None:
        ready = self._selector.select(STALL_S)
        if not ready:
            raise TimeoutError(
                f"no answer for {STALL_S:g} s, after {self._answered} of {self._total}"
            )
        for key, events in ready:
            if events & selectors.EVENT_WRITE:
                self._send(key.data)
            if events & selectors.EVENT_READ:
                self._receive(key.data)

    def _connect(self) -> _Connection:
        sock = socket.create_connection(self._address, timeout=STALL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        link = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, link)
        return link

    def _ask(self, link: _Connection) -> None:
        link.index = self._asked
        link.unsent = self._cycle[self._asked % len(self._cycle)]
        link.sent_at = time.perf_counter()
        self._asked += 1
        self._send(link, first=True)

    def _send(self, link: _Connection, *, first: bool = False) -> None:
        try:
            sent = link.sock.send(link.unsent)
        except BlockingIOError:
            sent = 0
        link.unsent = link.unsent[sent:]
        if link.unsent and first:
            self._selector.modify(link.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, link)
        elif not link.unsent and not first:
            self._selector.modify(link.sock, selectors.EVENT_READ, link)

    def _receive(self, link: _Connection) -> None:
        data = link.sock.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError(f"the server hung up on request {link.index} of {self._total}")
        link.received += data
        answer = parse(link.received)
        if answer is not None:
            link.received = b""
            self._finish(link, answer)

    def _finish(self, link: _Connection, answer: Answer) -> None:
        self._latencies.append(time.perf_counter() - link.sent_at)
        if answer.status != self._expect:
            raise ValueError(f"status {answer.status} instead of {self._expect}: {answer.body!r}")
        if self._keep:
            self._bodies[link.index] = answer.body
        self._answered += 1
        if self._asked < self._total and answer.keep_alive and not link.unsent:
            self._ask(link)
            return
        self._drop(link)
        if self._asked < self._total:
            self._ask(self._connect())

    def _drop(self, link: _Connection) -> None:
        self._selector.unregister(link.sock)
        link.sock.close()
