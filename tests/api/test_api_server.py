"""The HTTP server closes when it is told to, whatever its clients and the application do."""

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest

from vera_supervisor.api.server import Server

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
STALLED = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"


async def never_answers(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def answers(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


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
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(app, [listener])
        await server.open()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(sent)
        received = await reader.readuntil(answer) if answer else b""
        assert received.endswith(answer)
        while not server._connections:  # noqa: ASYNC110 - nothing else says so  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0)
        await server.close(0.05)
        assert server._connections == {}
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    asyncio.run(asyncio.wait_for(main(), 10))
