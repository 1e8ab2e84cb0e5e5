"""Bodies that are read only as fast as they are used, and answers that are bounded together.

Quart reads a whole body as it arrives, and refuses one that is longer than the limit. A stream of
tasks has no length; here the limit is on what has been read and not used yet. While nobody reads,
the client's connection fills up, and so the client waits.

A large answer takes memory until its client has read it. Once there is no room for more, in all or
for that client, a request for one gets a problem instead, and no stream begins; streams that have
begun go on.
"""

import asyncio
from typing import Any, Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart.asgi import ASGIHTTPConnection
from quart.typing import ResponseTypes
from quart.wrappers import Request
from quart.wrappers.request import Body
from quart.wrappers.response import DataBody

from vera_supervisor.api.counted_body import SMALL_BYTES, BodyRoom, CountedBody, Share
from vera_supervisor.api.peers import share_of
from vera_supervisor.api.problems import Problem, respond
from vera_supervisor.api.sender import SENDER

#: Where the application has its BodyRoom for what comes in, and for what goes out.
BODY_ROOM: Final = "body_room"
ANSWER_ROOM: Final = "answer_room"
NDJSON: Final = "application/x-ndjson"

#: Read and not used at most, beside one piece of at most 64 KiB.
_UNUSED_BYTES: Final = 64 * 1024


class PacedBody(Body):
    """A body that can be iterated over only."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self._room = asyncio.Event()

    async def put(self, data: bytes) -> None:
        """Take in what has come; returns when more may come."""
        self.append(data)
        while len(self._data) >= _UNUSED_BYTES:
            self._room.clear()
            await self._room.wait()

    async def __anext__(self) -> bytes:
        data = await super().__anext__()
        self._room.set()
        return data


class PacedConnection(ASGIHTTPConnection):
    """Gives a request the body that fits it."""

    _counted: CountedBody | None = None

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request."""
        try:
            await super().__call__(receive, send)
        finally:
            if self._counted is not None:
                self._counted.let_go()

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        if self._counted is not None:
            self._counted.let_go()  # nobody wants it any more, and sending may take its time
        if self.scope["method"] == "HEAD":
            response.response = DataBody(b"")  # nobody is to wait for a stream that is not shown
        by_pieces = in_pieces(send)
        size = _size_of(response)
        if size is not None and size <= SMALL_BYTES:
            await super()._send_response(send, response)
            return
        room = self._share(ANSWER_ROOM)
        if size is None:
            if room.full:
                await super()._send_response(send, _crowded(response))
            else:
                await super()._send_response(counting(by_pieces, room), response)
        elif room.take(size):
            try:
                await super()._send_response(by_pieces, response)
            finally:
                room.give_back(size)
        else:
            await super()._send_response(send, _crowded(response))

    def _share(self, name: str) -> Share:
        """Return the share in a room of who sends this request: by its token, or its address."""
        room: BodyRoom = self.app.extensions[name]
        address = (self.scope.get("client") or ("",))[0]
        return room.of(SENDER.get().name or share_of(address))

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        length = request.content_length
        limit: int = self.app.config["MAX_CONTENT_LENGTH"]
        if request.mimetype == NDJSON and (length is None or length > limit):
            request.body = PacedBody()
        elif (length or 0) > SMALL_BYTES or "Transfer-Encoding" in request.headers:
            self._counted = CountedBody(length, limit, self._share(BODY_ROOM))
            request.body = self._counted
        return request

    async def handle_messages(self, request: Request, receive: ASGIReceiveCallable) -> None:
        """Read the body; returns when the client is gone."""
        body = request.body
        if not isinstance(body, PacedBody):
            await super().handle_messages(request, receive)
            return
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if message["type"] == "http.request":
                await body.put(message["body"])
                if not message["more_body"]:
                    body.set_complete()


def _size_of(response: ResponseTypes) -> int | None:
    """Return the bytes of an answer; None where they come one piece after the other."""
    body = response.response
    return len(body.data) if isinstance(body, DataBody) else None


def _crowded(response: ResponseTypes) -> ResponseTypes:
    """Return what is said instead of an answer that there is no room for."""
    found_at = response.headers.get("location")
    ask = "ask again" if found_at is None else f"the task is accepted: ask again at {found_at}"
    detail = f"too many large answers are being read at once: {ask}"
    headers = {} if found_at is None else {"location": found_at}
    return respond(Problem(503, detail, retry_after=1, headers=headers))


def in_pieces(send: ASGISendCallable) -> ASGISendCallable:
    """Have what is large sent bit by bit: whoever sends it keeps each bit several times over."""

    async def piecewise(event: Any) -> None:
        body = event.get("body", b"")
        if len(body) <= SMALL_BYTES:
            await send(event)
            return
        for start in range(0, len(body), SMALL_BYTES):
            piece: Any = {**event, "body": body[start : start + SMALL_BYTES]}
            await send(piece)

    return piecewise


def counting(send: ASGISendCallable, room: Share) -> ASGISendCallable:
    """Have the large pieces of an answer counted while they are sent."""

    async def counting(event: Any) -> None:
        size = len(event.get("body", b""))
        if size <= SMALL_BYTES:
            await send(event)
            return
        room.overdraw(size)
        try:
            await send(event)
        finally:
            room.give_back(size)

    return counting
