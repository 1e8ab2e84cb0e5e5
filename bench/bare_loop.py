"""The least that a dispatcher of this shape can do: a bare loop, bare children, one frame each way.

The parent turns every answer into the next write, inside `data_received`; the child blocks in
`recv`. No queue, no deadline, no record: what a real dispatcher adds is the distance to this.
"""

import asyncio
import multiprocessing
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import SpawnProcess
from typing import cast

import msgspec
import uvloop

HEADER_BYTES = 4
RECEIVE_BYTES = 1 << 16
WARM_UP_TASKS = 500


class Assign(msgspec.Struct):
    """Parent to child: run this."""

    task_id: int
    function: str
    args: bytes


class Finished(msgspec.Struct):
    """Child to parent: this came of it."""

    task_id: int
    result: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_assign = msgspec.msgpack.Decoder(Assign).decode
_decode_finished = msgspec.msgpack.Decoder(Finished).decode


def bare_loop(tasks: int, children: int = 2) -> float:
    """Pass so many no-op tasks through the children, one in flight each; tasks/s."""
    links, processes = zip(*(_start_child() for _ in range(children)), strict=True)
    try:
        # In a thread of its own: the kernel remembers how many others a thread has woken in turn,
        # and places those it wakes accordingly. What ran next in this one would be half as fast.
        with ThreadPoolExecutor(1) as apart:
            return apart.submit(uvloop.run, _measure(tasks, links)).result()
    finally:
        for process in processes:
            process.join()


def _start_child() -> tuple[socket.socket, SpawnProcess]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = multiprocessing.get_context("spawn").Process(target=_child, args=(theirs,))
        process.start()
    return ours, process


async def _measure(tasks: int, sockets: tuple[socket.socket, ...]) -> float:
    loop = asyncio.get_running_loop()
    links = [(await loop.create_unix_connection(_Link, sock=sock))[1] for sock in sockets]
    try:
        await _Round(WARM_UP_TASKS).run(links)
        began = time.perf_counter()
        await _Round(tasks).run(links)
        return tasks / (time.perf_counter() - began)
    finally:
        for link in links:
            link.transport.close()


class _Round:
    """A number of tasks, handed to whichever link is free."""

    def __init__(self, tasks: int) -> None:
        self._unsent = tasks
        self._unanswered = tasks
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, links: "list[_Link]") -> None:
        for link in links:
            link.round = self
            self.feed(link)
        await self.done

    def feed(self, link: "_Link") -> None:
        if self._unsent:
            self._unsent -= 1
            link.transport.write(_frame(Assign(self._unsent, "noop", b"[]")))

    def answered(self, link: "_Link") -> None:
        self._unanswered -= 1
        if self._unanswered:
            self.feed(link)
        else:
            self.done.set_result(None)


class _Link(asyncio.Protocol):
    transport: asyncio.WriteTransport
    round: _Round

    def __init__(self) -> None:
        self._inbox = _Inbox()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        body = self._inbox.feed(data)
        if body is not None:
            _decode_finished(body)
            self.round.answered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.round.done.done():
            self.round.done.set_exception(exc or ConnectionError("a child hung up"))


class _Inbox:
    """Length-prefixed frames of a link that has one in flight."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> bytes | None:
        if self._data:
            data = self._data + data
        size = len(data) - HEADER_BYTES
        if size < 0 or size < int.from_bytes(data[:HEADER_BYTES], "big"):
            self._data = data
            return None
        self._data = b""
        return data[HEADER_BYTES:]


def _frame(message: Assign | Finished) -> bytes:
    body = _encode(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def _child(link: socket.socket) -> None:
    inbox = _Inbox()
    while data := link.recv(RECEIVE_BYTES):
        body = inbox.feed(data)
        if body is not None:
            task = _decode_assign(body)
            link.sendall(_frame(Finished(task.task_id, _noop(task.args))))


def _noop(_args: bytes) -> bytes:
    return b"null"
