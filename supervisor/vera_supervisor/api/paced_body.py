"""Bodies that are read only as fast as they are used.

Quart reads a whole body as it comes, and refuses one that is longer than the limit. A stream of
tasks has no length: what has been read and not used is what is limited here. While nobody reads,
the client's connection fills up, and so it waits.
"""

import asyncio
from typing import Final

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart.asgi import ASGIHTTPConnection
from quart.typing import ResponseTypes
from quart.wrappers import Request
from quart.wrappers.request import Body

from vera_supervisor.api.counted_body import SMALL_BYTES, CountedBody

#: Where the application has its BodyRoom.
BODY_ROOM: Final = "body_room"
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
        await super()._send_response(send, response)

    def _create_request_from_scope(self, send: ASGISendCallable) -> Request:
        request = super()._create_request_from_scope(send)
        length = request.content_length
        limit: int = self.app.config["MAX_CONTENT_LENGTH"]
        if request.mimetype == NDJSON and (length is None or length > limit):
            request.body = PacedBody()
        elif (length or 0) > SMALL_BYTES or "Transfer-Encoding" in request.headers:
            self._counted = CountedBody(length, limit, self.app.extensions[BODY_ROOM])
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
