"""The least that Quart on Hypercorn can do for a submission: decode it and answer 202."""

import multiprocessing
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request

from bench.answer import request as request_bytes
from bench.load import drive

BACKLOG = 128
STOP_S = 5.0
WARM_UP_REQUESTS = 200
UNLIMITED = 1_000_000_000

SUBMIT = request_bytes(
    "POST",
    "/task/submit",
    b'{"payload": {"function": "noop", "args": [], "kwargs": {}}, "priority": "normal"}',
)


class Payload(msgspec.Struct):
    """The call; its arguments stay JSON."""

    function: str
    args: msgspec.Raw = msgspec.Raw(b"[]")
    kwargs: msgspec.Raw = msgspec.Raw(b"{}")


class Submission(msgspec.Struct):
    """The body of a submission, as far as a bare route cares."""

    payload: Payload
    task_id: str | None = None
    priority: str = "normal"


class Accepted(msgspec.Struct):
    """The body of the answer."""

    status: str
    task_id: str
    position: int


def bare_app() -> Quart:
    """Build the application with its one route."""
    app = Quart("bare_route")
    decode = msgspec.json.Decoder(Submission).decode
    encode = msgspec.json.Encoder().encode

    @app.post("/task/submit")
    async def submit() -> Response:
        submission = decode(await request.get_data())
        accepted = Accepted("queued", submission.task_id or str(uuid.uuid4()), 1)
        return Response(encode(accepted), 202, content_type="application/json")

    return app


@contextmanager
def bare_route() -> Iterator[int]:
    """Serve the bare route, warm, in a child process; yields its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
        port: int = listener.getsockname()[1]
        server = multiprocessing.get_context("spawn").Process(target=_serve, args=(listener,))
        server.start()
    try:
        drive(port, SUBMIT, WARM_UP_REQUESTS, connections=4, expect=202)
        yield port
    finally:
        server.terminate()
        server.join(STOP_S)
        server.kill()
        server.join()


def _serve(listener: socket.socket) -> None:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    config.keep_alive_max_requests = UNLIMITED
    uvloop.run(serve(bare_app(), config))
