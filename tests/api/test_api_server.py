"""The server has a place for newcomers, puts up with the slow for a while, and closes on time."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop

from vera_supervisor.api import connection, server
from vera_supervisor.api.room import Room
from vera_supervisor.api.server import Server

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
STALLED = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"
MUCH = b"x" * (64 << 20)


async def never_answers(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def answers(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


async def answers_much(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"%d" % len(MUCH))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": MUCH, "more_body": False})


@asynccontextmanager
async def serving(
    app: Any, *, most: int = 16, most_of_one: int = 16, send_timeout_s: float = 30
) -> AsyncIterator[tuple[Server, Any]]:
    """Serve on a free port; give the server and where it is."""
    listener = socket.create_server(("127.0.0.1", 0))
    served = Server(app, [listener], Room(most, most_of_one), send_timeout_s=send_timeout_s)
    await served.open()
    try:
        yield served, listener.getsockname()
    finally:
        await served.close(0.05)


async def call(address: Any, sent: bytes = b"") -> tuple[asyncio.StreamReader, Any]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    return reader, writer


async def until(said: Callable[[], object]) -> None:
    while not said():  # noqa: ASYNC110 - nothing else says so
        await asyncio.sleep(0)


def run(story: Any) -> None:
    uvloop.run(asyncio.wait_for(story, 60))  # as the worker does


@pytest.mark.parametrize(
    ("app", "sent", "answer"),
    [
        (never_answers, GET, b""),
        (never_answers, STALLED, b""),
        (never_answers, GET[:9], b""),
        (never_answers, b"", b""),
        (answers, GET, b"ok"),
    ],
)
def test_close_hangs_up_on_everybody(app: Any, sent: bytes, answer: bytes) -> None:
    async def main() -> None:
        async with serving(app) as (served, address):
            reader, writer = await call(address, sent)
            received = await reader.readuntil(answer) if answer else b""
            assert received.endswith(answer)
            await until(lambda: served._connections)
            await served.close(0.05)
            assert served._connections == {}
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()

    run(main())


def test_whoever_rests_longest_makes_room_for_a_newcomer() -> None:
    async def main() -> None:
        async with serving(answers, most=20, most_of_one=20) as (served, address):
            guests = [await call(address, GET) for _ in range(18)]
            for reader, _ in guests:
                await reader.readuntil(b"ok")
            reader, writer = await call(address, GET)
            await reader.readuntil(b"ok")
            with suppress(ConnectionResetError):
                assert await guests[0][0].read() == b"", "it had rested longest"
            guests[1][1].write(GET)
            await guests[1][0].readuntil(b"ok")
            assert len(served._room) == 18
            for _, each in (*guests, (reader, writer)):
                each.close()

    run(main())


def test_when_nobody_rests_a_newcomer_is_told_so() -> None:
    async def main() -> None:
        async with serving(never_answers, most=20, most_of_one=5) as (served, address):
            guests = [await call(address, GET) for _ in range(5)]
            await until(lambda: len(served._room) == 5 and not served._room.resting())
            reader, writer = await call(address)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"retry-after: 1\r\n" in answer
            assert b"all connections of this worker are in use" in answer
            for _, each in (*guests, (reader, writer)):
                each.close()

    run(main())


def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.0)
    monkeypatch.setattr(server, "_REAP_S", 0.01)

    async def main() -> None:
        async with serving(answers) as (_, address):
            for sent in (b"", GET[:9], GET):
                reader, writer = await call(address, sent)
                with suppress(ConnectionResetError):
                    await reader.read()  # to its end, which it would not have otherwise
                writer.close()

    run(main())


def test_who_does_not_read_is_hung_up_on() -> None:
    async def main() -> None:
        async with serving(answers_much, send_timeout_s=0.05) as (served, address):
            _, writer = await call(address, GET)
            await until(lambda: served._connections)
            await until(lambda: not served._connections)
            writer.close()

    run(main())


@pytest.mark.parametrize("first", [STALLED, b"\x16\x03\x01 this is no HTTP\r\n\r\n"])
def test_an_answer_before_the_whole_request_is_not_lost_to_a_reset(first: bytes) -> None:
    async def main() -> None:
        async with serving(answers) as (_, address):
            reader, writer = await call(address, first)
            writer.write(b"y" * (1 << 20))  # more than anybody reads
            await writer.drain()
            writer.write_eof()
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 ")
            writer.close()

    run(main())


def test_one_that_goes_on_for_ever_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_LINGER_S", 0.05)

    async def main() -> None:
        async with serving(answers) as (served, address):
            reader, writer = await call(address, STALLED)
            await reader.readuntil(b"ok")
            await until(lambda: not served._connections)
            writer.close()

    run(main())


@pytest.mark.parametrize("pieces", [b"1\r\nx\r\n" * 1000, b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"])
def test_many_pieces_for_an_application_that_has_ended_hold_nobody_up(
    pieces: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_LINGER_S", "_FLUSH_S"):
        monkeypatch.setattr(connection, limit, 100.0)  # nothing here is to be waited for
    sent = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces

    async def main() -> None:
        async with serving(answers) as (served, address):
            reader, writer = await call(address, sent)
            await reader.readuntil(b"ok")
            writer.close()
            await until(lambda: not served._connections)

    run(main())


@pytest.mark.parametrize("error", [OSError(107, "not connected"), RuntimeError, TimeoutError])
@pytest.mark.parametrize("sent", [GET, STALLED])
def test_a_client_that_is_gone_when_we_hang_up_is_no_fault_of_ours(
    sent: bytes, error: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait_closed(_: object) -> None:
        raise error

    monkeypatch.setattr(asyncio.StreamWriter, "wait_closed", wait_closed)

    async def main() -> None:
        async with serving(answers) as (served, address):
            _, writer = await call(address, sent)
            await until(lambda: served._connections)
            writer.transport.abort()
            await until(lambda: not served._connections)

    run(main())
    broken = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert [record.getMessage() for record in broken] == []
